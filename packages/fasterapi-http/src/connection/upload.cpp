// Request bodies that stream: the half of the Connection that feeds them and the half of the Transaction that
// reads them. A connection with an upload has no inbox: what is not body is looked at after its end.
#include "upload.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/compression.hpp>
#include <fasterapi/http/server.hpp>

#include "body_stream.hpp"
#include "connection.hpp"

namespace fasterapi::http {

using core::Nanos;

constexpr std::uint32_t kLingerBytes = 1u << 20;  // what a refused client may go on sending

// ---------------------------------------------------------------- connection

std::uint64_t Connection::max_body(const Transaction& tx) const noexcept {
  return tx.route_ ? tx.route_->max_body : server_.limits().max_body_bytes;
}

bool Connection::streams() const noexcept {
  const Transaction& tx = *incoming_;
  if (!tx.route_ || !tx.route_->stream_body) return false;
  if (server_.options().decode_requests && tx.head.find("content-encoding").data()) return false;
  // A short body is worth waiting for: the handler then finds it whole, and a slow client never starts one.
  return tx.head.chunked || tx.head.expect_continue || tx.head.content_length > server_.limits().body_window_bytes;
}

bool Connection::decode_body() {
  Transaction& tx = *incoming_;
  std::string_view name = tx.head.find("content-encoding");
  if (!name.data() || equals_lower(name, "identity")) return true;
  Coding coding = Coding::identity;
  for (Coding known : {Coding::gzip, Coding::br, Coding::zstd})
    if (coding_available(known) && equals_lower(name, coding_name(known))) coding = known;
  if (coding == Coding::identity) {  // also several codings one over the other
    refuse(415, "http.unsupported_coding", "The content coding of the request body is not supported.");
    return false;
  }
  tx.own();
  core::OutBuffer decoded;
  decoded.append(tx.storage_.view().substr(0, tx.stored_head_));
  bool too_large = false;
  if (!decode_message(coding, tx.body_, max_body(tx), server_.limits().max_inflate_ratio, decoded, too_large)) {
    if (too_large)
      refuse(kBodyTooLarge);
    else
      refuse(400, "http.bad_coding", "The request body is not what its content coding says.");
    return false;
  }
  decoded.reserve(kReadPadding);
  tx.storage_ = std::move(decoded);
  tx.rebase();
  tx.body_ = tx.storage_.view().substr(tx.stored_head_);
  return true;
}

void Connection::dispatch_upload() {
  Transaction& tx = *incoming_;
  if (!upload_) {
    upload_ = std::make_unique<Upload>();
    upload_->chunked = false;
    upload_->left = tx.head.content_length - (tx.storage_.size() - tx.stored_head_);
  }
  tx.begin_stream();
  Transaction::BodyStream& stream = *tx.stream_;
  stream.persistence = !tx.head.keep_alive || eof_ || server_.draining_ ? Persistence::close
                       : tx.head.minor_version                          ? Persistence::implied
                                                                        : Persistence::keep_alive;
  stream.continue_due = tx.head.expect_continue && tx.head.minor_version && stream.bytes.empty();
  if (!can_discard()) tx.head.keep_alive = false;  // for now: see can_discard()
  if (!stream.continue_due) {
    upload_->window_since = server_.reactor().now();
    arm(upload_->window_since + static_cast<Nanos>(server_.limits().body_grace_ms) * kMillisecond);
  }
  if (stream.waiting() >= server_.limits().body_window_bytes) stream_.pause_reading();
  if (dispatch() && upload_) start_discard();
}

bool Connection::can_discard() const noexcept {
  // What would be skipped is known only from a length; and a client that waits for 100 may send the body or not
  // (RFC 9110 section 10.1.1), so that what follows has no meaning we could know.
  Transaction& tx = active_ ? *active_ : *incoming_;
  return !upload_->chunked && upload_->left <= server_.limits().max_discard_bytes && !tx.stream_->continue_due;
}

std::size_t Connection::feed(const char* data, std::size_t size) {
  Transaction& tx = *active_;
  Transaction::BodyStream& stream = *tx.stream_;
  Upload& upload = *upload_;
  std::size_t at = 0;
  bool complete = false;
  stream.continue_due = false;
  if (stream.taken == stream.bytes.size() && !stream.collecting) {
    stream.bytes.clear();
    stream.taken = 0;
  }
  if (!upload.chunked) {
    at = static_cast<std::size_t>(std::min<std::uint64_t>(size, upload.left));
    stream.bytes.append({data, at});
    upload.left -= at;
    complete = upload.left == 0;
  } else {
    for (;;) {
      auto step = upload.decoder.next(data + at, size - at, server_.limits());
      at += step.consumed;
      if (step.kind == ChunkedDecoder::Step::Kind::data) {
        if (upload.decoder.total() > max_body(tx)) {
          fail_upload(kBodyTooLarge);
          return size;
        }
        stream.bytes.append(step.data);
        continue;
      }
      if (step.kind == ChunkedDecoder::Step::Kind::error) {
        fail_upload(*step.error);
        return size;
      }
      complete = step.kind == ChunkedDecoder::Step::Kind::done;
      break;
    }
    if (!complete && upload.decoder.remaining_in_chunk() > max_body(tx)) {
      fail_upload(kBodyTooLarge);
      return size;
    }
  }
  if (upload.window_since) upload.window_bytes += at;
  if (complete) {
    tx.persistence_ = stream.persistence;
    upload_.reset();
    tx.body_ended(BodyState::complete);
    return at;
  }
  if (can_discard()) tx.persistence_ = stream.persistence;
  if (stream.waiting() >= server_.limits().body_window_bytes && !stream.collecting) {
    stream_.pause_reading();
    upload.window_since = 0;  // it is us who hold the client back
  } else if (!upload.window_since) {
    upload.window_since = server_.reactor().now();
    upload.window_bytes = 0;
  }
  tx.body_changed();
  return at;
}

void Connection::fail_upload(const ParseError& error) noexcept {
  ++server_.counters_.protocol_errors;
  Transaction& tx = *active_;
  closing_ = true;  // where the next request would start is not known any more
  tx.persistence_ = tx.stream_->persistence = Persistence::close;
  tx.body_ended(BodyState::failed, &error);
}

void Connection::reader_took() noexcept {
  if (!upload_ || closing_ || stream_.reading()) return;
  if (active_->stream_->waiting() > server_.limits().body_window_bytes / 2) return;
  upload_->window_since = server_.reactor().now();
  upload_->window_bytes = 0;
  arm(upload_->window_since + static_cast<Nanos>(server_.limits().body_grace_ms) * kMillisecond);
  stream_.resume_reading();
}

void Connection::reader_waits() noexcept {
  if (!upload_ || closing_) return;
  Transaction& tx = *active_;
  if (tx.stream_->continue_due && !tx.started()) {
    tx.stream_->continue_due = false;
    try {
      stream_.out().append(kContinue);
    } catch (const std::bad_alloc&) {
      return out_of_memory();
    }
    if (!dispatching_) flush();
    if (!stream_.open()) return;
  }
  if (!upload_->window_since && stream_.reading()) {
    upload_->window_since = server_.reactor().now();
    upload_->window_bytes = 0;
    arm(upload_->window_since + static_cast<Nanos>(server_.limits().body_grace_ms) * kMillisecond);
  }
}

bool Connection::upload_too_slow(Nanos now) noexcept {
  Upload& upload = *upload_;
  if (!upload.window_since || !stream_.reading() || closing_) return false;
  const Limits& limits = server_.limits();
  if (limits.min_body_bytes_per_second == 0) return false;
  Nanos grace = static_cast<Nanos>(limits.body_grace_ms) * kMillisecond;
  Nanos elapsed = now - upload.window_since;
  if (elapsed < grace) return false;
  double rate = static_cast<double>(limits.min_body_bytes_per_second) / 1e9;
  auto received = static_cast<double>(upload.window_bytes);
  if (received == 0 || received < rate * static_cast<double>(elapsed - grace)) return true;
  if (received >= rate * static_cast<double>(elapsed)) {  // what was fast does not pay for a stall later
    upload.window_since = now;
    upload.window_bytes = 0;
  }
  return false;
}

void Connection::start_discard() noexcept {
  phase_ = Phase::discard;
  since_ = server_.reactor().now();
  arm(since_ + static_cast<Nanos>(server_.limits().body_grace_ms) * kMillisecond);
  if (!stream_.reading()) stream_.resume_reading();
}

std::size_t Connection::discard(const char* data, std::size_t size) noexcept {
  static_cast<void>(data);  // only bodies with a length: see can_discard()
  auto used = static_cast<std::size_t>(std::min<std::uint64_t>(size, upload_->left));
  upload_->left -= used;
  if (upload_->left == 0) {
    upload_.reset();
    phase_ = Phase::idle;
    since_ = server_.reactor().now();
    arm(since_ + static_cast<Nanos>(server_.limits().keep_alive_ms) * kMillisecond);
  }
  return used;
}

bool Connection::take_rare(char*& data, std::size_t& size) noexcept {
  if (phase_ == Phase::linger) {
    lingered_ += static_cast<std::uint32_t>(std::min<std::size_t>(size, kLingerBytes));
    if (lingered_ > kLingerBytes) stream_.close();
    return false;
  }
  if (phase_ == Phase::tunnel) {
    feed_tunnel(data, size);
    return false;
  }
  if (phase_ == Phase::proxy) {
    take_proxy_header(data, size);
    return false;
  }
  std::size_t used = discard(data, size);
  data += used;
  size -= used;
  if (upload_) return false;
  if (server_.draining_ && size == 0) {
    closing_ = true;
    end_after_flush();
  }
  return size > 0;
}

// ---------------------------------------------------------------- transaction

void Transaction::BodyStreamEnd::operator()(BodyStream* stream) const noexcept { delete stream; }

void Transaction::begin_stream() {
  stream_.reset(new BodyStream);
  stream_->bytes.append(storage_.view().substr(stored_head_));
  storage_.truncate(stored_head_);
  storage_.reserve(kReadPadding);
  rebase();
}

BodyState Transaction::body_state() const noexcept { return stream_ ? stream_->state : BodyState::complete; }

const ParseError* Transaction::body_error() const noexcept { return stream_ ? stream_->error : nullptr; }

std::string_view Transaction::arrived_body() const noexcept {
  return stream_ ? stream_->bytes.view().substr(stream_->taken) : std::string_view{};
}

void Transaction::take_body(std::size_t size) noexcept {
  if (!stream_) return;
  stream_->taken += std::min(size, stream_->waiting());
  if (stream_->taken == stream_->bytes.size() && stream_->state != BodyState::open) {
    stream_->bytes = core::OutBuffer();
    stream_->taken = 0;
  }
  if (connection_) connection_->reader_took();
}

void Transaction::expect_body() noexcept {
  if (stream_ && stream_->state == BodyState::open && connection_) connection_->reader_waits();
}

void Transaction::collect_body() noexcept {
  if (!stream_ || stream_->collecting) return;
  stream_->collecting = true;
  if (stream_->state == BodyState::complete) {
    body_ = arrived_body();
  } else if (stream_->state == BodyState::open && connection_) {
    if (!connection_->stream_.reading() && !connection_->closing_) connection_->stream_.resume_reading();
    connection_->reader_waits();
  }
}

void Transaction::on_body(Callback fn, void* arg) noexcept {
  if (!stream_) return;
  stream_->changed = fn;
  stream_->changed_arg = arg;
}

void Transaction::body_ended(BodyState state, const ParseError* error) noexcept {
  stream_->state = state;
  stream_->error = error;
  if (state == BodyState::complete && stream_->collecting) body_ = arrived_body();
  body_changed();
}

void Transaction::body_changed() noexcept {
  if (stream_->changed) stream_->changed(stream_->changed_arg);
}

void Transaction::close_after() noexcept {
  persistence_ = Persistence::close;
  if (stream_) stream_->persistence = Persistence::close;
}

}  // namespace fasterapi::http
