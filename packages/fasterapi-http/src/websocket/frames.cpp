// Decoder and Encoder: one file, because what one accepts is what the other writes.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/websocket.hpp>

#include "websocket/deflate.hpp"
#include "websocket/simd.hpp"

namespace fasterapi::http::ws {
namespace {

// clang-format off
constexpr Failure
    kReserved{kProtocolError, "ws.reserved_bits", "A reserved bit is set that no extension has given a meaning"},
    kBadOpcode{kProtocolError, "ws.bad_opcode", "An opcode is not defined"},
    kBadControl{kProtocolError, "ws.bad_control", "A control frame is fragmented or longer than 125 bytes"},
    kNotMasked{kProtocolError, "ws.not_masked", "A client's frame is not masked"},
    kMasked{kProtocolError, "ws.masked", "A server's frame is masked"},
    kBadLength{kProtocolError, "ws.bad_length", "A length is not in its shortest form, or has its top bit set"},
    kNothingToContinue{kProtocolError, "ws.nothing_to_continue", "A continuation frame follows no message"},
    kNotFinished{kProtocolError, "ws.message_not_finished", "A message begins inside another one"},
    kBadClose{kProtocolError, "ws.bad_close", "A close frame has a code that may not be sent"},
    kBadText{kBadData, "ws.bad_utf8", "Text is not valid UTF-8"},
    kBadDeflate{kBadData, "ws.bad_deflate", "A compressed message does not inflate"},
    kMessageTooLong{kTooBig, "ws.message_too_big", "A message is larger than max_ws_message_bytes"},
    kTooDense{kTooBig, "ws.inflate_ratio", "A message inflates by more than max_ws_inflate_ratio"},
    kTooManyFragments{kPolicy, "ws.too_many_fragments", "A message has more fragments than max_ws_fragments"};
// clang-format on

constexpr std::size_t kBelieved = 64 * 1024;    // announced lengths are not believed beyond this
constexpr std::size_t kKeptMessage = 4 * 1024;  // of the buffer of a message that was handed out

bool is_control(Opcode opcode) noexcept { return static_cast<unsigned>(opcode) & 8; }

}  // namespace

std::uint32_t apply_mask(char* data, std::size_t size, std::uint32_t key) noexcept {
  static_assert(std::endian::native == std::endian::little, "the key is rotated as little-endian words");
  vectors().mask(data, size, key);
  return std::rotr(key, static_cast<int>(size & 3) * 8);
}

// ---------------------------------------------------------------- decoder

Decoder::Decoder(Role role, const FrameLimits& limits, const std::optional<DeflateParams>& deflate)
    : limits_(limits), role_(role), deflate_(deflate.has_value()) {
  limits_.max_message_bytes = std::min<std::uint64_t>(limits_.max_message_bytes, std::uint64_t{1} << 48);
  if (!deflate) return;
  const bool server = role == Role::server;
  keep_inflater_ = !(server ? deflate->client_no_context_takeover : deflate->server_no_context_takeover);
  inflate_bits_ = server ? deflate->client_max_window_bits : deflate->server_max_window_bits;
}

Decoder::Decoder(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

Decoder::Event Decoder::fail(const Failure& failure) noexcept {
  ended_ = true;
  Event event;
  event.kind = Kind::failure;
  event.close_code = failure.close_code;
  event.failure = &failure;
  return event;
}

const Failure* Decoder::open_frame(const unsigned char* head, std::size_t head_size) {
  const Opcode opcode = static_cast<Opcode>(head[0] & 0x0f);
  const bool fin = head[0] & 0x80, rsv1 = head[0] & 0x40;
  std::uint64_t length = head[1] & 0x7f;
  if (opcode > Opcode::binary && (opcode < Opcode::close || opcode > Opcode::pong)) return &kBadOpcode;
  if (head[0] & 0x30) return &kReserved;
  // RFC 7692 section 6: the bit belongs to the first frame of a message, and only once the extension is agreed on.
  if (rsv1 && (!deflate_ || (opcode != Opcode::text && opcode != Opcode::binary))) return &kReserved;
  const bool masked = head[1] & 0x80;
  if (masked != (role_ == Role::server)) return masked ? &kMasked : &kNotMasked;  // RFC 6455 section 5.1
  if (is_control(opcode)) {
    if (!fin || length > 125) return &kBadControl;
    if (opcode == Opcode::close && length == 1) return &kBadClose;
  } else if (opcode == Opcode::continuation) {
    if (message_kind_ == Opcode::continuation) return &kNothingToContinue;
  } else if (message_kind_ != Opcode::continuation) {
    return &kNotFinished;
  }
  if (head_size < 3) return nullptr;  // only asked whether the first two bytes are good
  std::size_t at = 2;
  if (length == 126) {
    length = static_cast<std::uint64_t>(head[2]) << 8 | head[3];
    at = 4;
    if (length < 126) return &kBadLength;
  } else if (length == 127) {
    length = 0;
    for (std::size_t i = 2; i < 10; ++i) length = length << 8 | head[i];
    at = 10;
    if (length < 0x10000 || length >> 63) return &kBadLength;
  }
  if (masked) std::memcpy(&key_, head + at, 4);
  opcode_ = opcode;
  fin_ = fin;
  left_ = length;
  in_frame_ = true;
  if (is_control(opcode)) {
    control_size_ = 0;
    return nullptr;
  }
  if (opcode != Opcode::continuation) {
    message_kind_ = opcode;
    inflating_ = rsv1;
    compressed_ = fragments_ = 0;
    utf8_.reset();
  }
  if (++fragments_ > limits_.max_fragments) return &kTooManyFragments;
  // Both sums are of bounded terms: what was taken is within the limit, length is below 2^63.
  if (inflating_) {
    // Stored blocks make a message grow by less than a thousandth.
    if (compressed_ + length > limits_.max_message_bytes + limits_.max_message_bytes / 1000 + 64)
      return &kMessageTooLong;
    if (!inflater_) inflater_ = detail::Inflater::lease(inflate_bits_);
  } else if (message_.size() + length > limits_.max_message_bytes) {
    return &kMessageTooLong;
  }
  return nullptr;
}

std::uint32_t Decoder::unmask(char* data, std::size_t size) noexcept {
  if (role_ == Role::server) key_ = apply_mask(data, size, key_);
  return key_;
}

const Failure* Decoder::take_data(char* data, std::size_t size) {
  unmask(data, size);
  left_ -= size;
  if (!inflating_) {
    if (message_kind_ == Opcode::text && !utf8_.feed(data, size)) return &kBadText;
    if (message_.empty() && left_) message_.reserve(std::min<std::uint64_t>(left_ + size, kBelieved));
    message_.append({data, size});
    return nullptr;
  }
  compressed_ += size;
  const std::size_t before = message_.size();
  auto result = inflater_->feed({data, size}, compressed_, limits_, message_);
  if (result == detail::Inflater::Result::ok && left_ == 0 && fin_)
    result = inflater_->finish(compressed_, limits_, message_);
  switch (result) {
    case detail::Inflater::Result::too_long: return &kMessageTooLong;
    case detail::Inflater::Result::too_dense: return &kTooDense;
    case detail::Inflater::Result::bad: return &kBadDeflate;
    case detail::Inflater::Result::ok: break;
  }
  if (message_kind_ == Opcode::text && !utf8_.feed(message_.data() + before, message_.size() - before))
    return &kBadText;
  return nullptr;
}

Decoder::Event Decoder::end_message() {
  const bool text = message_kind_ == Opcode::text;
  message_kind_ = Opcode::continuation;
  if (inflating_ && !keep_inflater_) inflater_.reset();
  if (text && !utf8_.complete()) return fail(kBadText);
  Event event;
  event.kind = text ? Kind::text : Kind::binary;
  event.ascii = text && utf8_.ascii();
  event.data = message_.view();
  handed_out_ = true;
  return event;
}

Decoder::Event Decoder::end_control(char* payload) {
  Event event;
  event.data = {payload, control_size_};
  if (opcode_ != Opcode::close) {
    event.kind = opcode_ == Opcode::ping ? Kind::ping : Kind::pong;
    return event;
  }
  event.kind = Kind::close;
  event.close_code = kNoStatus;
  if (control_size_ >= 2) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(payload);
    event.close_code = static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
    if (!valid_close_code(event.close_code)) return fail(kBadClose);
    event.data.remove_prefix(2);
    Utf8 text;
    if (!text.feed(event.data.data(), event.data.size()) || !text.complete()) return fail(kBadText);
  }
  ended_ = true;
  return event;
}

Decoder::Event Decoder::next(char* data, std::size_t size, std::size_t& used) {
  std::size_t at = 0;
  used = size;
  if (ended_) return {};
  if (handed_out_) {
    handed_out_ = false;
    message_.clear();
    message_.shrink(kKeptMessage);
  }
  for (;;) {
    if (!in_frame_) {
      const auto* head = reinterpret_cast<const unsigned char*>(data + at);
      std::size_t have = size - at;
      if (head_size_ || have < sizeof head_) {  // across reads, or near the end of one
        std::size_t need = 2;
        for (;;) {
          while (head_size_ < need && at < size) head_[head_size_++] = static_cast<unsigned char>(data[at++]);
          if (head_size_ < need) return {};
          if (need != 2) break;
          // The verdict on the first two bytes does not wait for the others.
          if (const Failure* failure = open_frame(head_, 2)) return fail(*failure);
          const unsigned length = head_[1] & 0x7f;
          need = 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (role_ == Role::server ? 4 : 0);
          if (need == 2) break;
        }
        head_size_ = 0;
        const std::size_t whole = std::max<std::size_t>(need, 3);  // 3: not only a question
        if (const Failure* failure = open_frame(head_, whole)) return fail(*failure);
      } else {
        const unsigned length = head[1] & 0x7f;
        if (const Failure* failure = open_frame(head, sizeof head_)) return fail(*failure);
        at += 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (role_ == Role::server ? 4 : 0);
      }
    }
    const std::size_t take = std::min<std::uint64_t>(left_, size - at);
    if (is_control(opcode_)) {
      char* payload = data + at;
      if (control_size_ || take < left_) {
        std::memcpy(control_ + control_size_, payload, take);
        unmask(control_ + control_size_, take);
        payload = control_;
      } else {
        unmask(payload, take);
      }
      control_size_ = static_cast<std::uint8_t>(control_size_ + take);
      left_ -= take;
      at += take;
      if (left_) return {};
      in_frame_ = false;
      used = at;
      return end_control(payload);
    }
    if (FASTERAPI_LIKELY(fin_ && fragments_ == 1 && !inflating_ && take == left_ && message_.empty())) {
      unmask(data + at, take);  // the usual case: nothing is copied
      in_frame_ = false;
      left_ = 0;
      const bool text = message_kind_ == Opcode::text;
      message_kind_ = Opcode::continuation;
      if (text && (!utf8_.feed(data + at, take) || !utf8_.complete())) return fail(kBadText);
      Event event;
      event.kind = text ? Kind::text : Kind::binary;
      event.ascii = text && utf8_.ascii();
      event.data = {data + at, take};
      used = at + take;
      return event;
    }
    if (take || left_ == 0)
      if (const Failure* failure = take_data(data + at, take)) return fail(*failure);
    at += take;
    if (left_) return {};
    in_frame_ = false;
    if (fin_) {
      used = at;
      return end_message();
    }
    if (at == size) return {};
  }
}

// ---------------------------------------------------------------- encoder

namespace {

/// Writes the head of a frame; 14 bytes at most.
char* put_head(char* at, Opcode opcode, bool fin, bool rsv1, std::size_t size, Role role,
               std::uint32_t key) noexcept {
  *at++ = static_cast<char>((fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | static_cast<unsigned>(opcode));
  const unsigned masked = role == Role::client ? 0x80 : 0;
  if (size < 126) {
    *at++ = static_cast<char>(masked | size);
  } else if (size < 0x10000) {
    *at++ = static_cast<char>(masked | 126);
    *at++ = static_cast<char>(size >> 8);
    *at++ = static_cast<char>(size);
  } else {
    *at++ = static_cast<char>(masked | 127);
    for (int shift = 56; shift >= 0; shift -= 8)
      *at++ = static_cast<char>(static_cast<std::uint64_t>(size) >> shift);
  }
  if (masked) {
    std::memcpy(at, &key, 4);
    at += 4;
  }
  return at;
}

constexpr std::size_t kMaxHead = 14;
constexpr std::size_t kSharedThreshold = 256;  // a message alone has little to refer to
constexpr std::size_t kOwnThreshold = 32;

}  // namespace

Encoder::Encoder(Role role, const std::optional<DeflateParams>& deflate) : role_(role) {
  if (!deflate) return;
  const bool server = role == Role::server;
  bits_ = server ? deflate->server_max_window_bits : deflate->client_max_window_bits;
  keeps_ = !(server ? deflate->server_no_context_takeover : deflate->client_no_context_takeover);
  // zlib has no raw deflate with windows of 2^8 bytes. Whoever wants that gets messages that are not compressed,
  // which every message may be (RFC 7692 section 6).
  deflates_ = bits_ > 8;
  threshold_ = keeps_ ? kOwnThreshold : kSharedThreshold;
}

Encoder::Encoder(Encoder&&) noexcept = default;
Encoder::~Encoder() = default;

void Encoder::message(core::OutBuffer& out, Opcode opcode, std::string_view payload, std::uint32_t key) {
  if (!compresses(payload.size())) return frame(out, opcode, true, false, payload, key);
  if (!deflater_) deflater_ = detail::Deflater::lease(bits_);
  core::OutBuffer compressed;
  deflater_->message(payload, keeps_, compressed);
  if (!keeps_) deflater_.reset();
  // With context takeover the peer's window has to see the message, smaller or not.
  if (!keeps_ && compressed.size() >= payload.size()) return frame(out, opcode, true, false, payload, key);
  frame(out, opcode, true, true, compressed.view(), key);
}

void Encoder::frame(core::OutBuffer& out, Opcode opcode, bool fin, bool rsv1, std::string_view payload,
                    std::uint32_t key) const {
  char* at = out.reserve(kMaxHead + payload.size());
  at = put_head(at, opcode, fin, rsv1, payload.size(), role_, key);
  if (!payload.empty()) std::memcpy(at, payload.data(), payload.size());
  if (role_ == Role::client) apply_mask(at, payload.size(), key);
  out.commit(at + payload.size());
}

void Encoder::head(core::OutBuffer& out, Opcode opcode, std::size_t size) const {
  out.commit(put_head(out.reserve(kMaxHead), opcode, true, false, size, role_, 0));
}

void Encoder::close(core::OutBuffer& out, std::uint16_t code, std::string_view reason, std::uint32_t key) const {
  if (code == kNoStatus) return frame(out, Opcode::close, true, false, {}, key);
  char payload[125] = {static_cast<char>(code >> 8), static_cast<char>(code)};
  std::size_t size = reason.size();
  if (size > 123) {
    size = 123;
    while (size && (static_cast<unsigned char>(reason[size]) & 0xC0) == 0x80) --size;
  }
  if (size) std::memcpy(payload + 2, reason.data(), size);
  frame(out, Opcode::close, true, false, {payload, size + 2}, key);
}

}  // namespace fasterapi::http::ws
