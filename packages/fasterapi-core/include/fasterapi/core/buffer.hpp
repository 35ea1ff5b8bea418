#pragma once
// OutBuffer: a growable output buffer that is written through a raw cursor.
//   Cost     reserve() is one compare when there is room; growth doubles; append() is a memcpy
//   Threads  none; one owner
//   Errors   growth beyond memory throws std::bad_alloc
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace fasterapi::core {

class OutBuffer {
 public:
  OutBuffer() noexcept = default;
  OutBuffer(OutBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  OutBuffer& operator=(OutBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~OutBuffer() { std::free(data_); }

  /// At least `n` writable bytes at the returned cursor; commit() what was written.
  char* reserve(std::size_t n) {
    if (capacity_ - size_ < n) grow(n);
    return data_ + size_;
  }
  void commit(const char* end) noexcept { size_ = static_cast<std::size_t>(end - data_); }
  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    char* at = reserve(bytes.size());
    std::memcpy(at, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void push(char byte) {
    *reserve(1) = byte;
    ++size_;
  }
  void append_int(long long value) {
    char* at = reserve(24);
    commit(std::to_chars(at, at + 24, value).ptr);
  }

  char* data() noexcept { return data_; }
  const char* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  bool empty() const noexcept { return size_ == 0; }
  std::string_view view() const noexcept { return {data_, size_}; }
  void clear() noexcept { size_ = 0; }
  void truncate(std::size_t size) noexcept { size_ = size; }
  void erase_front(std::size_t n) noexcept {
    std::memmove(data_, data_ + n, size_ - n);
    size_ -= n;
  }
  /// Gives memory back when a rare large response has left more than `keep` bytes behind.
  void shrink(std::size_t keep) noexcept {
    if (capacity_ > keep && size_ == 0) {
      std::free(std::exchange(data_, nullptr));
      capacity_ = 0;
    }
  }

 private:
  void grow(std::size_t n) {
    std::size_t wanted = capacity_ * 2 > size_ + n ? capacity_ * 2 : size_ + n + 1024;
    void* bigger = std::realloc(data_, wanted);
    if (!bigger) throw std::bad_alloc();
    data_ = static_cast<char*>(bigger);
    capacity_ = wanted;
  }
  char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace fasterapi::core
