#include <fasterapi/http/transaction.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>
#include <new>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/compression.hpp>
#include <fasterapi/http/server.hpp>

#include "body_stream.hpp"
#include "connection.hpp"
#include "peer.hpp"

namespace fasterapi::http {
namespace {

constexpr std::size_t kCopiedBody = 16 * 1024;  // larger bodies go to the socket from where they are

std::string json_quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += static_cast<char>(c);
    }
  }
  return out += '"';
}

}  // namespace

RequestHandler::~RequestHandler() = default;

// ---------------------------------------------------------------- request

std::span<const HeaderField> Transaction::headers() const noexcept {
  if (fields_.size() != head.field_count) {
    try {
      fields_.clear();
      fields_.reserve(head.field_count);
      for (unsigned i = 0; i < head.field_count; ++i) fields_.push_back({head.name(i), head.value(i)});
    } catch (const std::bad_alloc&) {
      fields_.clear();
    }
  }
  return fields_;
}

void Transaction::own() {
  if (owned_) return;
  const char* old = head.base();
  std::size_t head_size = head.size();
  storage_.clear();
  storage_.reserve(head_size + body_.size() + kReadPadding);
  storage_.append({old, head_size});
  if (!body_.empty()) storage_.append(body_);
  stored_head_ = head_size;
  rebase();
  if (!body_.empty()) body_ = storage_.view().substr(head_size);
  owned_ = true;
}

void Transaction::rebase() noexcept {
  const char* old = head.base();
  const char* base = storage_.data();
  for (unsigned i = 0; i < match.capture_count; ++i) {
    // Captures point into the path; the default path of an absolute form ("/") is static storage.
    const char*& at = match.captures[i].data;
    if (at >= old && at <= old + stored_head_) at = base + (at - old);
  }
  head.rebase(base);
  fields_.clear();
}

void Transaction::resolve_client() const noexcept {
  client_port_ = -1;
  if (!connection_) return;
  try {
    const Peer* peer = connection_->peer();
    if (!peer) return;
    client_port_ = peer->port;
    client_host_ = peer->host;
    client_text_ = peer->text;
  } catch (const std::bad_alloc&) {
    client_host_.clear();
    client_text_.clear();
  }
}

void Transaction::set_client(std::string_view host, int port) const noexcept {
  try {
    std::string text = host.find(':') == host.npos ? std::string(host) : "[" + std::string(host) + "]";
    text += ":" + std::to_string(port);
    client_host_ = host;
    client_text_ = std::move(text);
    client_port_ = port;
  } catch (const std::bad_alloc&) {  // then the proxy stays the client
  }
}

bool Transaction::proxied_server(std::string& host, int& port) const {
  const Peer* peer = connection_ ? connection_->peer_.get() : nullptr;  // filled by the PROXY protocol, if at all
  if (!peer || peer->server_host.empty()) return false;
  host = peer->server_host;
  port = peer->server_port;
  return true;
}

std::string_view Transaction::client() const noexcept {
  if (client_port_ == -2) resolve_client();
  return client_text_;
}

std::string_view Transaction::client_host() const noexcept {
  if (client_port_ == -2) resolve_client();
  return client_host_;
}

int Transaction::client_port() const noexcept {
  if (client_port_ == -2) resolve_client();
  return client_port_;
}

std::uint64_t Transaction::connection_serial() const noexcept { return connection_ ? connection_->serial_ : 0; }

int Transaction::descriptor() const noexcept { return connection_ ? connection_->stream().fd() : -1; }

core::TlsSession* Transaction::tls() const noexcept { return connection_ ? connection_->stream_.tls() : nullptr; }

const char* Transaction::scheme() const noexcept { return server_ && server_->secure() ? "https" : "http"; }

// ---------------------------------------------------------------- answer

bool Transaction::reachable() const noexcept { return connection_ && connection_->stream_.open(); }

std::size_t Transaction::unsent() const noexcept { return connection_ ? connection_->stream_.unsent() : 0; }

void Transaction::respond(const HeadTemplate& template_, std::string_view body) noexcept {
  if (FASTERAPI_UNLIKELY(state_ != State::waiting)) return;
  if (FASTERAPI_UNLIKELY(server_->compression_ != nullptr) && respond_coded(template_, body)) return;
  status_ = template_.status();
  if (FASTERAPI_LIKELY(reachable())) {
    core::Stream& stream = connection_->stream_;
    try {
      bool inline_body = body.size() <= kCopiedBody;
      bool send_body = !head_only() && template_.has_body() && !body.empty();
      core::OutBuffer& out = stream.out();
      char* at = out.reserve(template_.max_size() + (inline_body ? body.size() : 0));
      at = template_.write(at, body.size(), persistence_, server_->head_tail());
      if (FASTERAPI_LIKELY(send_body)) {
        sent_ = body.size();
        if (FASTERAPI_LIKELY(inline_body)) {
          std::memcpy(at, body.data(), body.size());
          at += body.size();
          out.commit(at);
        } else {
          out.commit(at);
          stream.flush_with(body);
        }
      } else {
        out.commit(at);
      }
    } catch (const std::bad_alloc&) {
      connection_->out_of_memory();
    }
  }
  complete();
}

void Transaction::respond_from(const HeadTemplate& template_, core::StreamSource body) noexcept {
  bool given = false;
  if (body.data && server_->compression_ && respond_coded(template_, {body.data, body.size})) {
    if (body.release) body.release(body.arg);
    return;
  }
  if (state_ == State::waiting) {
    status_ = template_.status();
    if (reachable()) {
      core::Stream& stream = connection_->stream_;
      try {
        core::OutBuffer& out = stream.out();
        char* at = out.reserve(template_.max_size());
        out.commit(template_.write(at, body.size, persistence_, server_->head_tail()));
        if (!head_only() && template_.has_body() && body.size) {
          sent_ = body.size;
          given = true;
          stream.send_source(body);
        }
      } catch (const std::bad_alloc&) {
        connection_->out_of_memory();
      }
    }
    complete();
  }
  if (!given && body.release) body.release(body.arg);
}

void Transaction::respond_from(int status, std::string_view content_type, std::span<const HeaderField> fields,
                               core::StreamSource body) noexcept {
  try {
    HeadTemplate template_ = server_->make_head(status, content_type, fields);
    return respond_from(template_, body);
  } catch (const std::bad_alloc&) {
    abort();
  }
  if (body.release) body.release(body.arg);
}

void Transaction::respond(int status, std::string_view content_type, std::span<const HeaderField> fields,
                          std::string_view body) noexcept {
  if (state_ != State::waiting) return;
  try {
    respond(server_->make_head(status, content_type, fields), body);
  } catch (const std::bad_alloc&) {
    abort();
  }
}

void Transaction::respond_error(int status, std::string_view text, std::span<const HeaderField> fields) noexcept {
  try {
    std::string body = "{\"detail\":" + json_quoted(text) + "}";
    respond(status, "application/json", fields, body);
  } catch (const std::bad_alloc&) {
    abort();
  }
}

void Transaction::start(int status, std::string_view content_type, std::span<const HeaderField> fields) noexcept {
  if (state_ != State::waiting) return;
  status_ = status;
  state_ = State::streaming;
  framing_ = Framing::chunked;
  bool has_length = false;
  for (const HeaderField& field : fields) {
    if (!equals_lower(field.name, "content-length")) continue;
    auto [end, error] = std::from_chars(field.value.data(), field.value.data() + field.value.size(), remaining_);
    has_length = error == std::errc{} && end == field.value.data() + field.value.size();
  }
  if (has_length) {
    framing_ = Framing::length;
  } else if (head.minor_version == 0) {
    framing_ = Framing::until_close;
    persistence_ = Persistence::close;
  }
  if (!status_has_body(status)) framing_ = Framing::none;
  if (!reachable()) return;
  try {
    HeadTemplate template_ = server_->make_head(status, content_type, fields);
    std::string coded;
    if (FASTERAPI_UNLIKELY(server_->compression_ != nullptr) && !identity_only_)
      coded = code_stream(template_.fields(), has_length);
    put_head(coded.empty() ? template_.fields() : std::string_view(coded));
    if (head_only()) framing_ = Framing::none;
  } catch (const std::bad_alloc&) {
    connection_->out_of_memory();
  }
}

void Transaction::put_body(std::string_view bytes) noexcept {
  core::Stream& stream = connection_->stream_;
  if (bytes.size() <= kCopiedBody)
    stream.out().append(bytes);
  else
    stream.flush_with(bytes);
}

bool Transaction::open_chunk(std::uint64_t size) {
  if (framing_ == Framing::length) {
    if (size > remaining_) {  // more than announced would be read as the next answer
      abort();
      return false;
    }
    remaining_ -= size;
  }
  if (framing_ == Framing::chunked) {
    core::OutBuffer& out = connection_->stream_.out();
    char* at = out.reserve(24);
    at = std::to_chars(at, at + 18, size, 16).ptr;
    *at++ = '\r';
    *at++ = '\n';
    out.commit(at);
  }
  return true;
}

bool Transaction::close_chunk(std::uint64_t size) {
  if (framing_ == Framing::chunked && reachable()) connection_->stream_.out().append("\r\n");
  sent_ += size;
  if (!reachable()) return true;
  // Within a dispatch the pieces leave together, unless they become too many.
  const std::size_t limit = server_->limits().max_unsent_bytes;
  if (!connection_->dispatching_ || connection_->stream_.out().size() > limit) connection_->flush();
  return !reachable() || connection_->stream_.unsent() <= limit;
}

bool Transaction::write(std::string_view chunk) noexcept {
  if (FASTERAPI_LIKELY(!encoder_) || chunk.empty()) return write_plain(chunk);
  core::OutBuffer coded;
  try {
    if (encoder_->encode(chunk, Encoder::Flush::sync, coded)) return write_plain(coded.view());
  } catch (const std::bad_alloc&) {
    if (reachable()) connection_->out_of_memory();
    return true;
  }
  abort();
  return true;
}

bool Transaction::write_plain(std::string_view chunk) noexcept {
  if (state_ != State::streaming || !reachable()) return true;
  if (chunk.empty() || framing_ == Framing::none) {
    if (!connection_->dispatching_) connection_->flush();  // at least the head
    return true;
  }
  try {
    if (!open_chunk(chunk.size())) return true;
    put_body(chunk);
    return close_chunk(chunk.size());
  } catch (const std::bad_alloc&) {
    connection_->out_of_memory();
    return true;
  }
}

bool Transaction::write_from(core::StreamSource chunk) noexcept {
  const std::uint64_t size = chunk.size;
  if (FASTERAPI_UNLIKELY(encoder_ != nullptr)) return write_source_coded(chunk);
  try {
    if (state_ != State::streaming || !reachable() || size == 0 || framing_ == Framing::none ||
        !open_chunk(size)) {
      if (chunk.release) chunk.release(chunk.arg);
      return write(std::string_view{});
    }
    connection_->stream_.send_source(chunk);
    return close_chunk(size);
  } catch (const std::bad_alloc&) {
    connection_->out_of_memory();
    return true;
  }
}

void Transaction::finish() noexcept { finish({}); }

void Transaction::finish(std::span<const HeaderField> trailers) noexcept {
  if (state_ != State::streaming) return;
  if (FASTERAPI_UNLIKELY(encoder_ != nullptr)) {
    core::OutBuffer coded;
    bool good = false;
    try {
      good = encoder_->encode({}, Encoder::Flush::finish, coded);
    } catch (const std::bad_alloc&) {
    }
    encoder_.reset();
    if (!good) return abort();
    write_plain(coded.view());
    if (state_ != State::streaming) return;
  }
  if (framing_ == Framing::length && remaining_ != 0) return abort();
  if (framing_ == Framing::chunked && reachable()) {
    try {
      core::OutBuffer& out = connection_->stream_.out();
      out.append("0\r\n");
      for (const HeaderField& field : trailers) {
        out.append(field.name);
        out.append(": ");
        out.append(field.value);
        out.append("\r\n");
      }
      out.append("\r\n");
    } catch (const std::bad_alloc&) {
      connection_->out_of_memory();
    }
  }
  complete();
}

void Transaction::abort() noexcept {
  if (state_ == State::answered) return;
  state_ = State::answered;
  disconnect_ = nullptr;
  drained_ = nullptr;
  encoder_.reset();
  if (!reachable()) return;
  connection_->flush();
  if (reachable()) connection_->abort(ECONNABORTED);
}

void Transaction::inform(int status, std::span<const HeaderField> fields) noexcept {
  if (state_ != State::waiting || !reachable() || head.minor_version == 0) return;
  try {
    HeadTemplate template_(status, {}, fields, {});
    connection_->stream_.out().append(template_.fields());
    connection_->stream_.out().append("\r\n");
  } catch (const std::bad_alloc&) {
    return connection_->out_of_memory();
  }
  if (!connection_->dispatching_) connection_->flush();
}

void Transaction::complete() noexcept {
  state_ = State::answered;
  disconnect_ = nullptr;
  drained_ = nullptr;
  if (FASTERAPI_UNLIKELY(server_->access_log_ != nullptr)) {
    timespec clock{};
    ::clock_gettime(CLOCK_MONOTONIC, &clock);
    std::int64_t now = static_cast<std::int64_t>(clock.tv_sec) * 1'000'000'000 + clock.tv_nsec;
    server_->access_log_(*this, now - begun_);
  }
  if (connection_) connection_->answered(*this);  // may recycle this
}

// ---------------------------------------------------------------- references

void Transaction::released() noexcept {
  if (references_ == 0) {
    if (FASTERAPI_LIKELY(server_ != nullptr)) return server_->recycle(*this);
    delete this;
    return;
  }
  // The connection's own reference is the last one: whoever was to answer has gone.
  if (state_ == State::answered || !connection_ || connection_->active_ != this || connection_->dispatching_)
    return;
  if (state_ == State::waiting)
    respond_error(500, "Internal Server Error");
  else
    abort();
}

}  // namespace fasterapi::http
