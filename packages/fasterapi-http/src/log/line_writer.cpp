#include "line_writer.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <new>
#include <system_error>

namespace fasterapi::http {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(50);
constexpr std::size_t kSoon = 64 * 1024;  // that much does not wait for the interval
constexpr int kPatienceMs = 1000;         // of the end, with a reader that does not read

int open_log(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

}  // namespace

LineWriter::LineWriter(std::string path, int descriptor, std::size_t bound)
    : path_(std::move(path)), bound_(bound), descriptor_(descriptor) {
  descriptor_ = path_.empty() ? ::fcntl(descriptor, F_DUPFD_CLOEXEC, 3) : open_log(path_);
  if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), path_);
  struct stat status{};
  is_pipe_ = ::fstat(descriptor_, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
  try {
    // Signals are for the threads that know them.
    sigset_t all, before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

LineWriter::~LineWriter() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
  ::close(descriptor_);
}

bool LineWriter::append(std::string_view lines) noexcept {
  std::unique_lock lock(mutex_);
  if (waiting_.size() + lines.size() > bound_) {
    ++dropped_;
    return false;
  }
  bool soon = waiting_.size() < kSoon && waiting_.size() + lines.size() >= kSoon;
  try {
    waiting_.append(lines);
  } catch (const std::bad_alloc&) {
    ++dropped_;
    return false;
  }
  lock.unlock();
  if (soon) wake_.notify_one();
  return true;
}

int LineWriter::reopen() noexcept {
  if (path_.empty()) return 0;
  int fresh = open_log(path_);
  if (fresh < 0) return errno;
  std::lock_guard lock(mutex_);
  // dup3 keeps the number: the thread may be writing to it right now.
  int error = ::dup3(fresh, descriptor_, O_CLOEXEC) < 0 ? errno : 0;
  ::close(fresh);
  return error;
}

std::uint64_t LineWriter::dropped() const noexcept {
  std::lock_guard lock(mutex_);
  return dropped_;
}

void LineWriter::run() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait_for(lock, kInterval, [this] { return ending_ || waiting_.size() >= kSoon; });
    if (dropped_ != told_) {
      try {
        waiting_ += "(" + std::to_string(dropped_ - told_) + " lines of the access log were dropped)\n";
        told_ = dropped_;
      } catch (const std::bad_alloc&) {  // told next time
      }
    }
    if (waiting_.empty()) {
      if (ending_) return;
      continue;
    }
    writing_.clear();
    writing_.swap(waiting_);
    lock.unlock();
    bool good = put(descriptor_, writing_);
    lock.lock();
    if (!good && ending_) return;
  }
}

bool LineWriter::put(int descriptor, std::string_view text) noexcept {
  int waited = 0;
  while (!text.empty()) {
    std::size_t size = text.size();
    if (is_pipe_) {
      // A pipe that is writable takes PIPE_BUF bytes at once, and keeps them together.
      pollfd ready{descriptor, POLLOUT, 0};
      int count = ::poll(&ready, 1, 100);
      if (count < 0 && errno != EINTR) return false;
      if (count <= 0) {
        std::lock_guard lock(mutex_);
        if (ending_ && (waited += 100) >= kPatienceMs) return false;
        continue;
      }
      if (size > PIPE_BUF) {
        std::size_t end = text.rfind('\n', PIPE_BUF - 1);
        size = end == text.npos ? PIPE_BUF : end + 1;
      }
    }
    ssize_t done = ::write(descriptor, text.data(), size);
    if (done < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return false;  // the reader has gone, the disk is full: nobody to tell but the counter of what was lost
    }
    text.remove_prefix(static_cast<std::size_t>(done));
  }
  return true;
}

}  // namespace fasterapi::http
