#pragma once
// Newline-delimited messages over two descriptors (stdin and stdout, pipes, sockets, terminals, files).
//   Cost     one read per readable event, all of its lines handled at once; one write per turn
//   Threads  the reactor's
//   Blocking reads follow readiness, so the input may stay in blocking mode; the output must be
//            non-blocking. Regular files, which a reactor cannot watch, are read from a timer.
#include <cstddef>
#include <string_view>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/reactor.hpp>

namespace fasterapi::mcp {

class LineHandler {
 public:
  virtual void on_line(std::string_view line) noexcept = 0;  // without the line end, never empty
  virtual void on_line_too_long() noexcept = 0;              // once per line; the rest of it is skipped
  virtual void on_input_end() noexcept = 0;                  // end of file or error, once
  virtual void on_output_drained() noexcept = 0;             // the backlog is small again
  virtual void on_output_error(int error) noexcept = 0;      // the reader is gone, once

 protected:
  ~LineHandler() = default;
};

class LineReader final : private core::IoHandler {
 public:
  LineReader(core::Reactor& reactor, int fd, std::size_t max_line, LineHandler& handler) noexcept;
  ~LineReader();
  int start() noexcept;  // 0 or an errno
  void stop() noexcept;
  void pause() noexcept;
  void resume() noexcept;

 private:
  void on_io(unsigned events) noexcept override;
  void read_some() noexcept;
  void take_lines() noexcept;
  core::Reactor& reactor_;
  LineHandler& handler_;
  core::Timer poll_;
  core::OutBuffer buffer_;
  std::size_t scanned_ = 0;
  std::size_t max_line_;
  int fd_;
  bool started_ = false, watched_ = false, paused_ = false, skipping_ = false;
};

class LineWriter final : private core::IoHandler {
 public:
  static constexpr std::size_t kFlushAt = 64 * 1024;    // bytes gathered in one turn before a write
  static constexpr std::size_t kBacklog = 1024 * 1024;  // unsent bytes that make the owner stop reading

  LineWriter(core::Reactor& reactor, int fd, LineHandler& handler) noexcept;
  ~LineWriter();
  /// Where the next message is written; end_line() after each.
  core::OutBuffer& out() noexcept { return buffer_; }
  void end_line();
  bool congested() const noexcept { return buffer_.size() - sent_ > kBacklog; }
  bool idle() const noexcept { return buffer_.size() == sent_; }
  void flush() noexcept;
  void stop() noexcept;

 private:
  void on_io(unsigned events) noexcept override;
  core::Reactor& reactor_;
  LineHandler& handler_;
  core::Deferred flush_;
  core::OutBuffer buffer_;
  std::size_t sent_ = 0;
  int fd_;
  bool watched_ = false, failed_ = false, told_congested_ = false;
};

}  // namespace fasterapi::mcp
