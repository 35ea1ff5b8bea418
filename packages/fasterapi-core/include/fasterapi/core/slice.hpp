#pragma once
// Slice: bytes within a slab block, kept alive by a reference. Chain: slices in a row, read as one string.
//   Cost     copying a slice is an increment; a chain neither copies nor joins bytes unless linearize() is asked
//   Threads  one reactor, as the blocks (slab.hpp)
//   Ownership  a slice of literal or otherwise static bytes owns nothing: Slice::borrowed()
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fasterapi/core/slab.hpp>

namespace fasterapi::core {

class Slice {
 public:
  Slice() noexcept = default;
  Slice(BlockRef block, std::size_t offset, std::size_t size) noexcept
      : block_(std::move(block)), view_(block_.data() + offset, size) {}
  /// Bytes that outlive the slice and everything made from it.
  static Slice borrowed(std::string_view bytes) noexcept {
    Slice slice;
    slice.view_ = bytes;
    return slice;
  }
  static Slice copied(SlabPool& pool, std::string_view bytes) {
    BlockRef block = pool.acquire(bytes.size());
    std::copy(bytes.begin(), bytes.end(), block.data());
    return Slice(std::move(block), 0, bytes.size());
  }

  std::string_view view() const noexcept { return view_; }
  const char* data() const noexcept { return view_.data(); }
  std::size_t size() const noexcept { return view_.size(); }
  bool empty() const noexcept { return view_.empty(); }
  const BlockRef& block() const noexcept { return block_; }
  /// The part from `offset` on, at most `size` bytes; shares the block.
  Slice part(std::size_t offset, std::size_t size = std::string_view::npos) const noexcept {
    Slice slice(*this);
    slice.view_ = view_.substr(std::min(offset, view_.size()), size);
    return slice;
  }
  void remove_prefix(std::size_t n) noexcept { view_.remove_prefix(n); }

 private:
  BlockRef block_;
  std::string_view view_;
};

class Chain {
 public:
  Chain() noexcept = default;
  Chain(Chain&& other) noexcept
      : slices_(std::exchange(other.slices_, {})),
        first_(std::exchange(other.first_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  Chain& operator=(Chain&& other) noexcept {
    slices_ = std::exchange(other.slices_, {});
    first_ = std::exchange(other.first_, 0);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  void append(Slice slice) {
    if (slice.empty()) return;
    const std::size_t added = slice.size();
    slices_.push_back(std::move(slice));
    size_ += added;
  }
  void append(Chain&& other) {
    for (std::size_t i = other.first_; i < other.slices_.size(); ++i) append(std::move(other.slices_[i]));
    other.clear();
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::size_t slices() const noexcept { return slices_.size() - first_; }
  /// The i-th slice from the front.
  const Slice& operator[](std::size_t i) const noexcept { return slices_[first_ + i]; }

  /// Drops `n` bytes (all, if there are fewer) from the front.
  void consume(std::size_t n) noexcept {
    n = std::min(n, size_);
    size_ -= n;
    while (n) {
      Slice& front = slices_[first_];
      if (n < front.size()) {
        front.remove_prefix(n);
        return;
      }
      n -= front.size();
      front = Slice();
      ++first_;
    }
    if (first_ == slices_.size()) clear();
    // Half of the entries are spent: move the rest down, which is O(1) per slice over time.
    if (first_ > 16 && first_ * 2 > slices_.size()) {
      slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
  }
  /// Takes `n` bytes (all, if there are fewer) off the front, without copying them.
  Chain take(std::size_t n) {
    Chain front;
    n = std::min(n, size_);
    for (std::size_t i = first_, left = n; left; ++i) {
      front.append(slices_[i].part(0, left));
      left -= std::min(left, slices_[i].size());
    }
    consume(n);
    return front;
  }
  /// Copies up to `capacity` bytes of the front to `out`; returns how many.
  std::size_t copy_to(char* out, std::size_t capacity) const noexcept {
    std::size_t copied = 0;
    for (std::size_t i = first_; i < slices_.size() && copied < capacity; ++i) {
      const std::size_t n = std::min(slices_[i].size(), capacity - copied);
      std::memcpy(out + copied, slices_[i].data(), n);
      copied += n;
    }
    return copied;
  }
  /// All bytes in one piece: the first slice's own if it is the only one, else joined in a block of `pool`.
  std::string_view linearize(SlabPool& pool) {
    if (size_ == 0) return {};
    if (slices() > 1) {
      BlockRef block = pool.acquire(size_);
      const std::size_t total = copy_to(block.data(), size_);
      slices_.front() = Slice(std::move(block), 0, total);
      slices_.resize(1);
      first_ = 0;
    }
    return slices_[first_].view();
  }
  std::string string() const {
    std::string all(size_, '\0');
    copy_to(all.data(), size_);
    return all;
  }
  void clear() noexcept {
    slices_.clear();
    first_ = size_ = 0;
  }

 private:
  std::vector<Slice> slices_;
  std::size_t first_ = 0;  // those before it are spent
  std::size_t size_ = 0;
};

}  // namespace fasterapi::core
