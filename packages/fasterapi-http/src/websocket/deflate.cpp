#include "websocket/deflate.hpp"

#include <zlib.h>

#include <algorithm>
#include <new>
#include <vector>

namespace fasterapi::http::ws::detail {
namespace {

constexpr std::string_view kTail{"\0\0\xff\xff", 4};
constexpr std::size_t kSpare = 2;                // of each kind and size that a thread keeps
constexpr unsigned kMaxStreams = 16;             // deflate streams that one message may consist of
constexpr std::size_t kInflateStep = 16 * 1024;  // output room asked for at a time

/// zlib takes sizes as unsigned int.
constexpr std::size_t kMaxPiece = 1u << 30;

/// A window smaller than 2^15 bounds the memory of a connection, not what a peer may refer to: zlib also finds
/// what is farther back as long as the same call has put it out. Only peers that break the agreement notice.
class ZInflater final : public Inflater {
 public:
  explicit ZInflater(int bits) : bits(bits) {
    if (::inflateInit2(&stream_, -std::max(bits, 8)) != Z_OK) throw std::bad_alloc();
  }
  ~ZInflater() override { ::inflateEnd(&stream_); }
  void reset() noexcept {
    ::inflateReset(&stream_);
    streams_ = 0;
  }

  Result feed(std::string_view bytes, std::uint64_t compressed, const FrameLimits& limits,
              core::OutBuffer& out) override {
    while (!bytes.empty()) {
      std::string_view piece = bytes.substr(0, kMaxPiece);
      bytes.remove_prefix(piece.size());
      if (Result result = run(piece, compressed, limits, out); result != Result::ok) return result;
    }
    return Result::ok;
  }

  Result finish(std::uint64_t compressed, const FrameLimits& limits, core::OutBuffer& out) override {
    Result result = run(kTail, compressed, limits, out);
    streams_ = 0;
    if (result != Result::ok) return result;
    // Between two blocks and at a byte's edge (zlib.h, data_type), or the message was cut inside a block.
    return (stream_.data_type & 128) && !(stream_.data_type & 7) ? Result::ok : Result::bad;
  }

  const int bits;

 private:
  Result run(std::string_view bytes, std::uint64_t compressed, const FrameLimits& limits, core::OutBuffer& out) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    for (;;) {
      // One byte more than allowed tells a message that is too long from one that just fits.
      const std::size_t most = limits.max_message_bytes + 1 - out.size();
      const std::size_t room = std::min(most, std::max<std::size_t>(kInflateStep, bytes.size()));
      char* at = out.reserve(room);
      stream_.next_out = reinterpret_cast<Bytef*>(at);
      stream_.avail_out = static_cast<uInt>(room);
      const int code = ::inflate(&stream_, Z_SYNC_FLUSH);
      out.commit(reinterpret_cast<char*>(stream_.next_out));
      if (code == Z_MEM_ERROR) throw std::bad_alloc();
      if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) return Result::bad;
      if (out.size() > limits.max_message_bytes) return Result::too_long;
      if (limits.max_inflate_ratio && out.size() > FrameLimits::kRatioFree &&
          out.size() / limits.max_inflate_ratio > compressed)
        return Result::too_dense;
      if (code == Z_STREAM_END) {
        // RFC 7692 section 7.2.3.5: a final block is allowed; what follows goes on with the same window.
        if (++streams_ > kMaxStreams || !restart()) return Result::bad;
        continue;
      }
      if (stream_.avail_out != 0) return stream_.avail_in == 0 ? Result::ok : Result::bad;
    }
  }

  bool restart() {
    std::vector<Bytef> window(std::size_t{1} << 15);
    uInt size = 0;
    return ::inflateGetDictionary(&stream_, window.data(), &size) == Z_OK && ::inflateReset(&stream_) == Z_OK &&
           (size == 0 || ::inflateSetDictionary(&stream_, window.data(), size) == Z_OK);
  }

  z_stream stream_{};
  unsigned streams_ = 0;
};

class ZDeflater final : public Deflater {
 public:
  explicit ZDeflater(int bits) : bits(bits) {
    // The smallest hash that suits the window: the memory of a connection that keeps its own.
    const int memory = std::clamp(bits - 7, 1, 8);
    if (::deflateInit2(&stream_, Z_BEST_SPEED, Z_DEFLATED, -bits, memory, Z_DEFAULT_STRATEGY) != Z_OK)
      throw std::bad_alloc();
  }
  ~ZDeflater() override { ::deflateEnd(&stream_); }
  void reset() noexcept { ::deflateReset(&stream_); }

  void message(std::string_view payload, bool keep, core::OutBuffer& out) override {
    bool last = false;
    while (!last) {
      std::string_view piece = payload.substr(0, kMaxPiece);
      payload.remove_prefix(piece.size());
      last = payload.empty();
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
      stream_.avail_in = static_cast<uInt>(piece.size());
      do {
        const std::size_t room = std::clamp<std::size_t>(stream_.avail_in / 2 + 64, 256, 64 * 1024);
        char* at = out.reserve(room);
        stream_.next_out = reinterpret_cast<Bytef*>(at);
        stream_.avail_out = static_cast<uInt>(room);
        ::deflate(&stream_, last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        out.commit(reinterpret_cast<char*>(stream_.next_out));
      } while (stream_.avail_out == 0);
    }
    // The room ran out exactly at the end when the tail is not there yet: deflate() then gave it in the last turn.
    if (out.size() >= 4 && out.view().substr(out.size() - 4) == kTail) out.truncate(out.size() - 4);
    if (!keep) reset();
  }

  const int bits;

 private:
  z_stream stream_{};
};

template <class T>
std::vector<std::unique_ptr<T>>& spare() {
  static thread_local std::vector<std::unique_ptr<T>> pool;
  return pool;
}

template <class T>
T* lease_from_pool(int bits) {
  auto& pool = spare<T>();
  for (auto& one : pool) {
    if (one->bits != bits) continue;
    std::swap(one, pool.back());
    T* found = pool.back().release();
    pool.pop_back();
    return found;
  }
  return new T(bits);
}

template <class T>
void give_back(T* object) noexcept {
  object->reset();
  std::unique_ptr<T> owned(object);
  auto& pool = spare<T>();
  try {
    if (pool.size() < kSpare) pool.push_back(std::move(owned));
  } catch (const std::bad_alloc&) {  // then it is not kept
  }
}

}  // namespace

std::unique_ptr<Inflater, InflaterEnd> Inflater::lease(int window_bits) {
  return std::unique_ptr<Inflater, InflaterEnd>(lease_from_pool<ZInflater>(window_bits));
}

std::unique_ptr<Deflater, DeflaterEnd> Deflater::lease(int window_bits) {
  return std::unique_ptr<Deflater, DeflaterEnd>(lease_from_pool<ZDeflater>(window_bits));
}

void InflaterEnd::operator()(Inflater* inflater) const noexcept { give_back(static_cast<ZInflater*>(inflater)); }
void DeflaterEnd::operator()(Deflater* deflater) const noexcept { give_back(static_cast<ZDeflater*>(deflater)); }

}  // namespace fasterapi::http::ws::detail
