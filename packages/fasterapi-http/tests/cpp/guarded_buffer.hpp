#pragma once
// Bytes that end exactly kReadPadding bytes before an unreadable page: a parser that reads further dies here.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include <fasterapi/http/parser.hpp>

namespace fasterapi::http::testing {

class GuardedBuffer {
 public:
  explicit GuardedBuffer(std::size_t capacity = 1 << 17) {
    page_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    size_ = (capacity + kReadPadding + page_ - 1) / page_ * page_;
    void* map = mmap(nullptr, size_ + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) std::abort();
    map_ = static_cast<char*>(map);
    if (mprotect(map_ + size_, page_, PROT_NONE) != 0) std::abort();
  }
  ~GuardedBuffer() { munmap(map_, size_ + page_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  /// Copies `bytes` so that they end at the edge, `shift` bytes earlier for other alignments. The padding is
  /// garbage.
  const char* put(std::string_view bytes, std::size_t shift = 0) {
    char* at = map_ + size_ - kReadPadding - bytes.size() - shift;
    std::memcpy(at, bytes.data(), bytes.size());
    std::memset(at + bytes.size(), '\r' + static_cast<int>(shift % 3), kReadPadding + shift);
    return at;
  }

 private:
  std::size_t page_, size_;
  char* map_;
};

}  // namespace fasterapi::http::testing
