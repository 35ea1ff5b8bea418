#include "stdio/lines.hpp"

#include <cerrno>
#include <cstring>

#include <poll.h>
#include <unistd.h>

namespace fasterapi::mcp {
namespace {

constexpr std::size_t kReadSize = 64 * 1024;
constexpr core::Nanos kFilePoll = 1'000'000;

}  // namespace

// ------------------------------------------------------------------------------------------------ LineReader

LineReader::LineReader(core::Reactor& reactor, int fd, std::size_t max_line, LineHandler& handler) noexcept
    : reactor_(reactor),
      handler_(handler),
      poll_(
          [](void* self) noexcept {
            auto* reader = static_cast<LineReader*>(self);
            reader->read_some();
            if (reader->started_ && !reader->paused_) reader->reactor_.arm_after(reader->poll_, kFilePoll);
          },
          this),
      max_line_(max_line),
      fd_(fd) {}

LineReader::~LineReader() { stop(); }

int LineReader::start() noexcept {
  int error = reactor_.add(fd_, core::kReadable, this);
  if (error == EPERM) {  // epoll refuses regular files: they are always readable
    reactor_.arm_after(poll_, 0);
  } else if (error != 0) {
    return error;
  } else {
    watched_ = true;
  }
  started_ = true;
  return 0;
}

void LineReader::stop() noexcept {
  started_ = false;
  if (watched_) reactor_.remove(fd_);
  watched_ = false;
  reactor_.cancel(poll_);
}

void LineReader::pause() noexcept {
  if (!started_ || paused_) return;
  paused_ = true;
  if (watched_) reactor_.modify(fd_, 0);
}

void LineReader::resume() noexcept {
  if (!started_ || !paused_) return;
  paused_ = false;
  if (watched_) {
    reactor_.modify(fd_, core::kReadable);
  } else {
    reactor_.arm_after(poll_, 0);
  }
}

void LineReader::on_io(unsigned events) noexcept {
  // A hang-up is reported even while paused; what is left in the pipe is read after resume().
  if (!paused_)
    read_some();
  else if (!(events & core::kReadable)) {
    // Level-triggered hang-ups of a paused pipe would spin: watch it from the timer instead.
    reactor_.remove(fd_);
    watched_ = false;
  }
}

void LineReader::read_some() noexcept {
  char* at = buffer_.reserve(kReadSize);
  ssize_t n;
  do {
    n = ::read(fd_, at, kReadSize);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
  if (n <= 0) {
    stop();
    // A last line without its newline still counts.
    if (!buffer_.empty() && !skipping_) {
      buffer_.push('\n');
      take_lines();
    }
    handler_.on_input_end();
    return;
  }
  buffer_.commit(at + n);
  take_lines();
}

void LineReader::take_lines() noexcept {
  std::size_t begin = 0;
  for (;;) {
    const char* data = buffer_.data();
    const void* hit = std::memchr(data + scanned_, '\n', buffer_.size() - scanned_);
    if (!hit) break;
    auto end = static_cast<std::size_t>(static_cast<const char*>(hit) - data);
    scanned_ = end + 1;
    if (skipping_) {
      skipping_ = false;
    } else {
      std::string_view line(data + begin, end - begin);
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
      if (line.size() > max_line_) {
        handler_.on_line_too_long();
      } else if (!line.empty()) {
        handler_.on_line(line);
      }
    }
    begin = end + 1;
  }
  if (begin != 0) buffer_.erase_front(begin);
  scanned_ = buffer_.size();
  if (skipping_) {
    buffer_.clear();
    scanned_ = 0;
  } else if (buffer_.size() > max_line_) {
    skipping_ = true;
    buffer_.clear();
    scanned_ = 0;
    handler_.on_line_too_long();
  }
  buffer_.shrink(4 * kReadSize);
}

// ------------------------------------------------------------------------------------------------ LineWriter

LineWriter::LineWriter(core::Reactor& reactor, int fd, LineHandler& handler) noexcept
    : reactor_(reactor),
      handler_(handler),
      flush_([](void* self) noexcept { static_cast<LineWriter*>(self)->flush(); }, this),
      fd_(fd) {}

LineWriter::~LineWriter() { stop(); }

void LineWriter::stop() noexcept {
  if (watched_) reactor_.remove(fd_);
  watched_ = false;
  failed_ = true;
}

void LineWriter::end_line() {
  buffer_.push('\n');
  if (failed_) {
    buffer_.clear();
    sent_ = 0;
  } else if (watched_) {
    // waiting for room already
  } else if (buffer_.size() - sent_ >= kFlushAt) {
    flush();
  } else {
    reactor_.defer(flush_);
  }
  if (congested()) told_congested_ = true;
}

void LineWriter::flush() noexcept {
  while (!failed_ && sent_ < buffer_.size()) {
    ssize_t n = ::write(fd_, buffer_.data() + sent_, buffer_.size() - sent_);
    if (n > 0) {
      sent_ += static_cast<std::size_t>(n);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (watched_) return;
      int error = reactor_.add(fd_, core::kWritable, this);
      if (error == 0) {
        watched_ = true;
        return;
      }
      errno = error;
    }
    int error = errno;
    stop();
    handler_.on_output_error(error);
  }
  buffer_.clear();
  sent_ = 0;
  buffer_.shrink(4 * kFlushAt);
  if (watched_) {
    reactor_.remove(fd_);
    watched_ = false;
  }
  if (told_congested_) {
    told_congested_ = false;
    handler_.on_output_drained();
  }
}

void LineWriter::on_io(unsigned) noexcept { flush(); }

}  // namespace fasterapi::mcp
