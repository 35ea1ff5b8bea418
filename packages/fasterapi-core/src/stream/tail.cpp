// Sending memory and files from where they lie.
#include "tail.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/core/tls.hpp>

#include "socket_calls.hpp"

namespace fasterapi::core {
namespace {

constexpr std::size_t kPiece = 256 * 1024;      // of a source, at once
constexpr std::size_t kTlsPiece = 64 * 1024;    // and when it has to be encrypted
constexpr std::size_t kPerEvent = 1024 * 1024;  // a fast reader does not starve the others
constexpr Nanos kDiskPatience = 1'000'000;      // between two looks at the page cache
constexpr unsigned kDiskTries = 30;             // then the loop waits for the disk after all

}  // namespace

Stream::Tail::Tail(Stream& stream, StreamSource what) noexcept
    : source(what),
      disk(
          [](void* self) noexcept {
            auto& waiting = *static_cast<Stream*>(self);
            waiting.tail_->disk_wait = false;
            waiting.update_interest();  // and go on when the socket is writable
          },
          &stream) {}

Stream::Tail::~Tail() {
  if (source.release) source.release(source.arg);
}

std::size_t Stream::waiting() const noexcept {
  std::size_t bytes = pending_->size();
  if (tail_) bytes += static_cast<std::size_t>(tail_->source.size) + plain_->size();
  return bytes;
}

std::int64_t Stream::taken_late() const noexcept {
  return handed_late_ - (fd_ >= 0 ? static_cast<std::int64_t>(held_by_kernel(fd_)) : 0);
}

void Stream::send_source(StreamSource source) noexcept {
  flush();
  const bool busy = tail_ || connecting_;
  if (fd_ < 0 || shutdown_ || source.size == 0) {
    if (source.release) source.release(source.arg);
    return;
  }
  try {
    if (FASTERAPI_UNLIKELY(busy)) {  // behind another source, or not yet connected: rare enough to be copied
      if (source.data) {
        keep({source.data, source.size});
      } else {
        OutBuffer copy;
        char* at = copy.reserve(source.size);
        std::uint64_t done = 0;
        while (done < source.size) {
          const std::ptrdiff_t got = read_at(source.file, at + done, source.size - done, source.offset + done);
          if (got <= 0) break;
          done += static_cast<std::uint64_t>(got);
        }
        if (done < source.size)
          close(EIO);
        else
          keep({at, done});
      }
      if (source.release) source.release(source.arg);
      return;
    }
    auto behind = std::make_unique<OutBuffer>();
    tail_ = std::make_unique<Tail>(*this, source);
    source.release = nullptr;  // the tail's from here
    plain_ = std::move(behind);
    if (!pending_) {
      pending_ = std::make_unique<OutBuffer>();
      write_ready();
    }
  } catch (const std::bad_alloc&) {
    if (source.release) source.release(source.arg);
    close(ENOMEM);
  }
  update_interest();
}

void Stream::pump_tail() noexcept {
  std::size_t budget = kPerEvent;
  while (tail_->source.size && budget) {
    StreamSource& source = tail_->source;
    std::size_t wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>({source.size, budget, tls_ ? kTlsPiece : kPiece}));
    if (!source.data && wait_for_disk(wanted)) break;
    std::size_t sent = pump_tail_once(wanted);
    if (fd_ < 0) return;
    source.size -= sent;
    source.offset += sent;
    if (source.data) source.data += sent;
    budget -= sent;
    if (sent < wanted || pending_) break;  // the socket is full
  }
  if (tail_->source.size == 0) return end_tail();
  try {
    if (!pending_) pending_ = std::make_unique<OutBuffer>();
  } catch (const std::bad_alloc&) {
    return close(ENOMEM);
  }
  update_interest();  // a flush of ciphertext above has ended it
}

std::size_t Stream::pump_tail_once(std::size_t wanted) noexcept {
  StreamSource& source = tail_->source;
  if (!tls_) {
    if (source.data) {
      std::size_t sent = send_some(source.data, wanted);
      handed_late_ += static_cast<std::int64_t>(sent);
      return sent;
    }
    const std::ptrdiff_t sent = send_file(fd_, source.file, source.offset, wanted);
    if (sent > 0) {
      handed_late_ += sent;
      return static_cast<std::size_t>(sent);
    }
    if (sent == 0)
      close(EIO);  // shorter than it was
    else if (!net::would_block(sent))
      close(static_cast<int>(-sent));
    return 0;
  }
  try {
    OutBuffer piece;
    std::string_view bytes{source.data, wanted};
    if (!source.data) {
      char* at = piece.reserve(wanted);
      const std::ptrdiff_t got = read_at(source.file, at, wanted, source.offset);
      if (got <= 0) {
        close(got < 0 ? static_cast<int>(-got) : EIO);
        return 0;
      }
      bytes = {at, static_cast<std::size_t>(got)};
    }
    auto behind = std::move(plain_);
    tail_->pumping = true;
    flush_with(bytes);
    if (!tail_) return 0;  // closed
    tail_->pumping = false;
    plain_ = std::move(behind);
    handed_late_ +=
        static_cast<std::int64_t>(bytes.size() - (pending_ ? std::min(bytes.size(), pending_->size()) : 0));
    return bytes.size();
  } catch (const std::bad_alloc&) {
    close(ENOMEM);
    return 0;
  }
}

void Stream::end_tail() noexcept {
  std::unique_ptr<OutBuffer> behind = std::move(plain_);
  std::unique_ptr<Tail> ended = std::move(tail_);
  if (!behind->empty()) {
    if (tls_) {
      const bool shut = std::exchange(shutdown_, false);
      flush_with(behind->view());
      shutdown_ = shut;
    } else if (!pending_) {
      std::size_t sent = send_some(behind->data(), behind->size());
      if (fd_ < 0) return;
      if (sent < behind->size()) keep(behind->view().substr(sent));
    } else {
      keep(behind->view());
    }
  }
  if (fd_ >= 0 && tls_ && (closing_ || shutdown_)) say_close_notify();
}

bool Stream::wait_for_disk(std::size_t wanted) noexcept {
  Tail& tail = *tail_;
  if (in_page_cache(tail.source.file, tail.source.offset, wanted) || tail.disk_tries >= kDiskTries) {
    tail.disk_tries = 0;
    return false;
  }
  ++tail.disk_tries;
  tail.disk_wait = true;
  reactor_.arm(tail.disk, reactor_.now() + kDiskPatience);
  return true;
}

}  // namespace fasterapi::core
