#pragma once
// What a transport could not send yet: references to immutable bytes, copies of what a caller may still change.
//   Cost     no copy for bytes and memoryviews of bytes; one for bytearrays, and only of the unsent rest
#include <sys/uio.h>

#include <vector>

#include "json_ref.hpp"

namespace fasterapi::core::py {

class OutQueue {
 public:
  static constexpr int kParts = 256;  // of one sendmsg

  ~OutQueue() { clear(); }
  bool empty() const noexcept { return head_ == chunks_.size(); }
  std::size_t size() const noexcept { return size_; }

  /// Keeps a bytes-like object as it is; false with an exception set when it is not one.
  bool push(PyObject* data, std::size_t skip = 0) {
    PyObject* owner;
    char* start;
    Py_ssize_t length;
    if (PyBytes_CheckExact(data)) {
      owner = Py_NewRef(data);
      start = PyBytes_AS_STRING(data);
      length = PyBytes_GET_SIZE(data);
    } else {
      if (!(owner = PyMemoryView_FromObject(data))) return false;
      if (!PyBuffer_IsContiguous(PyMemoryView_GET_BUFFER(owner), 'C')) {
        Ref view(owner);
        if (!(owner = PyBytes_FromObject(view.get()))) return false;
        start = PyBytes_AS_STRING(owner);
        length = PyBytes_GET_SIZE(owner);
      } else {
        start = static_cast<char*>(PyMemoryView_GET_BUFFER(owner)->buf);
        length = PyMemoryView_GET_BUFFER(owner)->len;
      }
    }
    if (static_cast<std::size_t>(length) <= skip) {
      Py_DECREF(owner);
      return true;
    }
    chunks_.push_back({owner, start + skip, static_cast<std::size_t>(length) - skip});
    size_ += static_cast<std::size_t>(length) - skip;
    return true;
  }
  /// Copies what its owner may change under us once the call that pushed it has returned.
  bool freeze() {
    for (std::size_t i = std::max(head_, frozen_); i < chunks_.size(); ++i) {
      Chunk& chunk = chunks_[i];
      if (PyBytes_CheckExact(chunk.owner)) continue;
      PyObject* base = PyMemoryView_GET_BASE(chunk.owner);
      if (base && PyBytes_CheckExact(base)) continue;
      PyObject* copy = PyBytes_FromStringAndSize(chunk.data, static_cast<Py_ssize_t>(chunk.size));
      if (!copy) return false;
      Py_DECREF(chunk.owner);
      chunk.owner = copy;
      chunk.data = PyBytes_AS_STRING(copy);
    }
    frozen_ = chunks_.size();
    return true;
  }
  int parts(iovec* out) const noexcept {
    int n = 0;
    for (std::size_t i = head_; i < chunks_.size() && n < kParts; ++i)
      out[n++] = {const_cast<char*>(chunks_[i].data), chunks_[i].size};
    return n;
  }
  void consume(std::size_t sent) noexcept {
    size_ -= sent;
    while (sent) {
      Chunk& chunk = chunks_[head_];
      if (sent < chunk.size) {
        chunk.data += sent;
        chunk.size -= sent;
        break;
      }
      sent -= chunk.size;
      PyObject* owner = chunk.owner;
      ++head_;
      Py_DECREF(owner);
    }
    if (empty()) {
      chunks_.clear();
      head_ = frozen_ = 0;
      if (chunks_.capacity() > 64) chunks_.shrink_to_fit();
    } else if (head_ > 256 && head_ * 2 > chunks_.size()) {
      chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(head_));
      frozen_ -= std::min(frozen_, head_);
      head_ = 0;
    }
  }
  void clear() noexcept {
    std::vector<Chunk> gone;
    gone.swap(chunks_);
    std::size_t from = head_;
    head_ = frozen_ = size_ = 0;
    for (; from < gone.size(); ++from) Py_DECREF(gone[from].owner);
  }
  int visit(visitproc visit, void* arg) const noexcept {
    for (std::size_t i = head_; i < chunks_.size(); ++i) Py_VISIT(chunks_[i].owner);
    return 0;
  }

 private:
  struct Chunk {
    PyObject* owner;
    const char* data;
    std::size_t size;
  };
  std::vector<Chunk> chunks_;
  std::size_t head_ = 0, frozen_ = 0, size_ = 0;
};

}  // namespace fasterapi::core::py
