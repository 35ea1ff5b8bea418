#pragma once
// Lines for a file or pipe, written by a thread of its own, so that a slow disk or reader never holds up a loop.
//   Cost     append(): a lock that nobody holds for long, and a copy
//   Threads  append() and reopen() from any thread
//   Memory   at most `bound` bytes wait; lines beyond are dropped and counted, and a line says how many
//   Order    lines stay whole: into a pipe in pieces of at most PIPE_BUF, which several processes may share
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace fasterapi::http {

class LineWriter {
 public:
  /// Appends to `path`, or writes to the descriptor when `path` is empty. Throws std::system_error.
  LineWriter(std::string path, int descriptor, std::size_t bound);
  /// Writes what waits; gives a reader that does not read a second.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  /// One or more lines with their ends. False when they were dropped.
  bool append(std::string_view lines) noexcept;
  /// Opens the path anew (after it was renamed). Returns 0 or an errno; then the old file stays.
  int reopen() noexcept;
  std::uint64_t dropped() const noexcept;

 private:
  void run() noexcept;
  bool put(int descriptor, std::string_view text) noexcept;

  const std::string path_;
  const std::size_t bound_;
  int descriptor_;
  bool is_pipe_ = false;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::string waiting_, writing_;
  std::uint64_t dropped_ = 0, told_ = 0;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace fasterapi::http
