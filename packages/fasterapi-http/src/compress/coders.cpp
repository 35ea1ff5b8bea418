// gzip, br and zstd. The latter two are there when the build found their libraries.
#include <zlib.h>

#include <algorithm>
#include <new>

#include <fasterapi/http/compression.hpp>

#if FASTERAPI_HTTP_BROTLI
#include <brotli/decode.h>
#include <brotli/encode.h>
#endif
#if FASTERAPI_HTTP_ZSTD
#include <zstd.h>
#endif

namespace fasterapi::http {

Encoder::~Encoder() = default;

namespace {

constexpr std::size_t kStep = 16 * 1024;
constexpr std::uint64_t kFreeBytes = 64 * 1024;  // before the ratio counts

class Gzip final : public Encoder {
 public:
  explicit Gzip(int level) noexcept {
    good_ = ::deflateInit2(&stream_, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~Gzip() override {
    if (good_) ::deflateEnd(&stream_);
  }
  bool encode(std::string_view input, Flush flush, core::OutBuffer& out) override {
    if (!good_) return false;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(input.size());
    const int mode = flush == Flush::finish ? Z_FINISH : flush == Flush::sync ? Z_SYNC_FLUSH : Z_NO_FLUSH;
    do {
      char* at = out.reserve(kStep);
      stream_.next_out = reinterpret_cast<Bytef*>(at);
      stream_.avail_out = kStep;
      const int result = ::deflate(&stream_, mode);
      if (result == Z_STREAM_ERROR) return false;
      out.commit(at + (kStep - stream_.avail_out));
    } while (stream_.avail_out == 0);
    return true;
  }

 private:
  z_stream stream_{};
  bool good_ = false;
};

#if FASTERAPI_HTTP_BROTLI
class Brotli final : public Encoder {
 public:
  explicit Brotli(int level) noexcept : state_(::BrotliEncoderCreateInstance(nullptr, nullptr, nullptr)) {
    if (!state_) return;
    ::BrotliEncoderSetParameter(state_, BROTLI_PARAM_QUALITY, static_cast<std::uint32_t>(level));
    ::BrotliEncoderSetParameter(state_, BROTLI_PARAM_LGWIN, 19);  // 512 KiB of window are enough for an answer
  }
  ~Brotli() override {
    if (state_) ::BrotliEncoderDestroyInstance(state_);
  }
  bool encode(std::string_view input, Flush flush, core::OutBuffer& out) override {
    if (!state_) return false;
    auto next = reinterpret_cast<const std::uint8_t*>(input.data());
    std::size_t left = input.size();
    const auto operation = flush == Flush::finish ? BROTLI_OPERATION_FINISH
                           : flush == Flush::sync ? BROTLI_OPERATION_FLUSH
                                                  : BROTLI_OPERATION_PROCESS;
    do {
      char* at = out.reserve(kStep);
      auto* to = reinterpret_cast<std::uint8_t*>(at);
      std::size_t room = kStep;
      if (!::BrotliEncoderCompressStream(state_, operation, &left, &next, &room, &to, nullptr)) return false;
      out.commit(at + (kStep - room));
    } while (left || ::BrotliEncoderHasMoreOutput(state_));
    return true;
  }

 private:
  BrotliEncoderState* state_;
};
#endif

#if FASTERAPI_HTTP_ZSTD
class Zstd final : public Encoder {
 public:
  explicit Zstd(int level) noexcept : context_(::ZSTD_createCCtx()) {
    if (!context_) return;
    ::ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level);
    ::ZSTD_CCtx_setParameter(context_, ZSTD_c_windowLog, 20);  // RFC 9659 allows 8 MiB; an answer needs no more
  }
  ~Zstd() override { ::ZSTD_freeCCtx(context_); }
  bool encode(std::string_view input, Flush flush, core::OutBuffer& out) override {
    if (!context_) return false;
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    const auto mode = flush == Flush::finish ? ZSTD_e_end : flush == Flush::sync ? ZSTD_e_flush : ZSTD_e_continue;
    for (;;) {
      char* at = out.reserve(kStep);
      ZSTD_outBuffer to{at, kStep, 0};
      const std::size_t left = ::ZSTD_compressStream2(context_, &to, &in, mode);
      if (::ZSTD_isError(left)) return false;
      out.commit(at + to.pos);
      if (flush == Flush::none ? in.pos == in.size : left == 0) return true;
    }
  }

 private:
  ZSTD_CCtx* context_;
};
#endif

/// Counts what comes out of a decoder.
struct Budget {
  std::uint64_t limit, max_ratio;
  bool too_large = false;
  bool allows(std::uint64_t out, std::uint64_t in) noexcept {
    too_large = out > limit || (out > kFreeBytes && out / max_ratio > in);
    return !too_large;
  }
};

bool inflate_gzip(std::string_view input, Budget& budget, core::OutBuffer& out) {
  z_stream stream{};
  if (::inflateInit2(&stream, 15 + 16) != Z_OK) throw std::bad_alloc();
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
  stream.avail_in = static_cast<uInt>(input.size());
  const std::size_t start = out.size();
  int result = Z_OK;
  bool good = true;
  while (good && result != Z_STREAM_END) {
    char* at = out.reserve(kStep);
    stream.next_out = reinterpret_cast<Bytef*>(at);
    stream.avail_out = kStep;
    result = ::inflate(&stream, Z_NO_FLUSH);
    out.commit(at + (kStep - stream.avail_out));
    good = (result == Z_OK || result == Z_STREAM_END) &&
           budget.allows(out.size() - start, input.size() - stream.avail_in);
    if (result == Z_OK && stream.avail_in == 0 && stream.avail_out) good = false;  // it ends too early
  }
  good = good && stream.avail_in == 0;  // one member, and nothing behind it
  ::inflateEnd(&stream);
  return good;
}

#if FASTERAPI_HTTP_BROTLI
bool inflate_brotli(std::string_view input, Budget& budget, core::OutBuffer& out) {
  BrotliDecoderState* state = ::BrotliDecoderCreateInstance(nullptr, nullptr, nullptr);
  if (!state) throw std::bad_alloc();
  auto next = reinterpret_cast<const std::uint8_t*>(input.data());
  std::size_t left = input.size();
  const std::size_t start = out.size();
  bool good = true;
  BrotliDecoderResult result = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
  while (good && result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
    char* at = out.reserve(kStep);
    auto* to = reinterpret_cast<std::uint8_t*>(at);
    std::size_t room = kStep;
    result = ::BrotliDecoderDecompressStream(state, &left, &next, &room, &to, nullptr);
    out.commit(at + (kStep - room));
    good = budget.allows(out.size() - start, input.size() - left);
  }
  ::BrotliDecoderDestroyInstance(state);
  return good && result == BROTLI_DECODER_RESULT_SUCCESS && left == 0;
}
#endif

#if FASTERAPI_HTTP_ZSTD
bool inflate_zstd(std::string_view input, Budget& budget, core::OutBuffer& out) {
  ZSTD_DCtx* context = ::ZSTD_createDCtx();
  if (!context) throw std::bad_alloc();
  ::ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 23);  // RFC 9659: 8 MiB
  ZSTD_inBuffer in{input.data(), input.size(), 0};
  const std::size_t start = out.size();
  std::size_t left = 1;
  bool good = true;
  while (good && left) {
    char* at = out.reserve(kStep);
    ZSTD_outBuffer to{at, kStep, 0};
    left = ::ZSTD_decompressStream(context, &to, &in);
    good = !::ZSTD_isError(left);
    out.commit(at + to.pos);
    good = good && budget.allows(out.size() - start, in.pos);
    if (left && in.pos == in.size && to.pos < kStep) good = false;  // it ends too early
  }
  ::ZSTD_freeDCtx(context);
  return good && in.pos == in.size;
}
#endif

}  // namespace

bool coding_available(Coding coding) noexcept {
  switch (coding) {
    case Coding::br: return FASTERAPI_HTTP_BROTLI;
    case Coding::zstd: return FASTERAPI_HTTP_ZSTD;
    default: return true;
  }
}

std::unique_ptr<Encoder> make_encoder(Coding coding, const CompressionOptions& options) {
  switch (coding) {
    case Coding::gzip: return std::make_unique<Gzip>(options.gzip_level);
#if FASTERAPI_HTTP_BROTLI
    case Coding::br: return std::make_unique<Brotli>(options.br_level);
#endif
#if FASTERAPI_HTTP_ZSTD
    case Coding::zstd: return std::make_unique<Zstd>(options.zstd_level);
#endif
    default: return nullptr;
  }
}

bool decode_message(Coding coding, std::string_view input, std::uint64_t limit, std::uint64_t max_ratio,
                    core::OutBuffer& out, bool& too_large) {
  Budget budget{limit, std::max<std::uint64_t>(max_ratio, 1)};
  bool good = false;
  switch (coding) {
    case Coding::gzip: good = inflate_gzip(input, budget, out); break;
#if FASTERAPI_HTTP_BROTLI
    case Coding::br: good = inflate_brotli(input, budget, out); break;
#endif
#if FASTERAPI_HTTP_ZSTD
    case Coding::zstd: good = inflate_zstd(input, budget, out); break;
#endif
    default: break;
  }
  too_large = budget.too_large;
  return good;
}

}  // namespace fasterapi::http
