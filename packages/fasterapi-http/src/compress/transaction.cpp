// The half of the Transaction that compresses. Nothing here runs unless ServerOptions::compression is on.
#include <fasterapi/http/transaction.hpp>

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <new>

#include <fasterapi/http/compression.hpp>
#include <fasterapi/http/server.hpp>

#include "../connection/connection.hpp"

namespace fasterapi::http {

void Transaction::EncoderEnd::operator()(Encoder* encoder) const noexcept { delete encoder; }

void Transaction::start_identity(int status, std::string_view content_type,
                                 std::span<const HeaderField> fields) noexcept {
  identity_only_ = true;
  start(status, content_type, fields);
  identity_only_ = false;
}

void Transaction::put_head(std::string_view fields) {
  core::OutBuffer& out = connection_->stream_.out();
  out.append(fields);
  if (framing_ == Framing::chunked) out.append("transfer-encoding: chunked\r\n");
  if (persistence_ == Persistence::close) out.append("connection: close\r\n");
  if (persistence_ == Persistence::keep_alive) out.append("connection: keep-alive\r\n");
  out.append(server_->head_tail());
}

bool Transaction::respond_coded(const HeadTemplate& template_, std::string_view body) noexcept {
  const CompressionOptions& options = *server_->compression_;
  if (state_ != State::waiting || body.size() < options.minimum_size || body.size() > options.maximum_size ||
      !reachable() || !judge_head(template_.status(), template_.fields()).eligible)
    return false;
  try {
    Coding coding = parse_accept_encoding(head).best(options.codings);
    core::OutBuffer coded;
    if (coding != Coding::identity && !head_only()) {
      auto encoder = make_encoder(coding, options);
      if (!encoder || !encoder->encode(body, Encoder::Flush::finish, coded)) return false;
      body = coded.view();
    }
    status_ = template_.status();
    std::string fields = coded_head(template_.fields(), coding);
    if (!head_only() || coding == Coding::identity)
      fields += "content-length: " + std::to_string(body.size()) + "\r\n";
    framing_ = Framing::length;
    put_head(fields);
    if (!head_only()) {
      sent_ = body.size();
      put_body(body);
    }
  } catch (const std::bad_alloc&) {
    connection_->out_of_memory();
  }
  complete();
  return true;
}

std::string Transaction::code_stream(std::string_view fields, bool has_length) {
  const CompressionOptions& options = *server_->compression_;
  if (framing_ == Framing::none || (has_length && remaining_ < options.minimum_size) ||
      !judge_head(status_, fields).eligible)
    return {};
  const Coding coding = parse_accept_encoding(head).best(options.codings);
  if (coding != Coding::identity) {
    encoder_.reset(make_encoder(coding, options).release());
    if (!encoder_) return {};
    if (framing_ == Framing::length) {  // how long it will be nobody knows
      framing_ = head.minor_version ? Framing::chunked : Framing::until_close;
      if (head.minor_version == 0) persistence_ = Persistence::close;
    }
  }
  std::string coded = coded_head(fields, coding);
  if (coding == Coding::identity && has_length) coded += "content-length: " + std::to_string(remaining_) + "\r\n";
  if (head_only()) encoder_.reset();
  return coded;
}

bool Transaction::write_source_coded(core::StreamSource chunk) noexcept {
  bool roomy = true;
  try {
    core::OutBuffer piece;
    while (chunk.size && state_ == State::streaming) {
      std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size, 256 * 1024));
      std::string_view bytes(chunk.data, size);
      if (!chunk.data) {  // a piece of a file in a body that began otherwise: rare enough to be read here
        piece.clear();
        ssize_t got = ::pread(chunk.file, piece.reserve(size), size, static_cast<off_t>(chunk.offset));
        if (got <= 0) {
          abort();
          break;
        }
        size = static_cast<std::size_t>(got);
        bytes = {piece.data(), size};
      }
      roomy = write(bytes);
      chunk.size -= size;
      chunk.offset += size;
      if (chunk.data) chunk.data += size;
    }
  } catch (const std::bad_alloc&) {
    if (reachable()) connection_->out_of_memory();
  }
  if (chunk.release) chunk.release(chunk.arg);
  return roomy;
}

}  // namespace fasterapi::http
