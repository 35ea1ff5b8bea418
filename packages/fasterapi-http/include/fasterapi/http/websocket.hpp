#pragma once
// WebSocket framing (RFC 6455) with permessage-deflate (RFC 7692), sans-IO: bytes in, events out.
//   Cost     a whole frame in the caller's buffer is unmasked in place and handed out from there; what spans reads
//            is collected in memory that grows with what has arrived, never with what was announced
//   Limits   message bytes (all fragments, after inflating), fragments, inflate ratio: see FrameLimits
//   Threads  none; one owner. Compression state without context takeover is shared by the connections of a thread
//   Errors   peers' faults are events; only std::bad_alloc is thrown
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/core/buffer.hpp>

namespace fasterapi::http {

class RequestHead;

namespace ws {

enum class Role : std::uint8_t { server, client };
enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

inline constexpr std::uint16_t kNormal = 1000, kGoingAway = 1001, kProtocolError = 1002, kNoStatus = 1005,
                               kAbnormal = 1006, kBadData = 1007, kPolicy = 1008, kTooBig = 1009,
                               kInternalError = 1011, kServiceRestart = 1012;

/// Codes that a close frame may carry: RFC 6455 section 7.4 and its IANA registry, 3000-4999.
constexpr bool valid_close_code(unsigned code) noexcept {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/// Why a connection is failed: the code its close frame says, a stable name, and the text for people.
struct Failure {
  std::uint16_t close_code;
  const char* code;
  const char* text;
};

/// What both sides agreed on (RFC 7692 section 7.1).
struct DeflateParams {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  std::uint8_t server_max_window_bits = 15;
  std::uint8_t client_max_window_bits = 15;
};

struct FrameLimits {
  std::uint64_t max_message_bytes = 1u << 20;
  std::uint64_t max_fragments = 64;
  /// Bytes out per byte in; counts for messages beyond kRatioFree bytes, 0 turns it off.
  std::uint64_t max_inflate_ratio = 100;
  static constexpr std::uint64_t kRatioFree = 1u << 20;
};

namespace detail {
class Inflater;
class Deflater;
struct InflaterEnd {
  void operator()(Inflater* inflater) const noexcept;
};
struct DeflaterEnd {
  void operator()(Deflater* deflater) const noexcept;
};
}  // namespace detail

/// Incremental check of RFC 3629 text: fails at the first byte that no continuation could make valid.
class Utf8 {
 public:
  /// False once the text cannot become valid any more.
  bool feed(const char* data, std::size_t size) noexcept;
  /// No character is half finished.
  bool complete() const noexcept { return left_ == 0; }
  /// Nothing but ASCII so far.
  bool ascii() const noexcept { return ascii_; }
  void reset() noexcept { *this = Utf8(); }

 private:
  std::uint8_t left_ = 0, low_ = 0x80, high_ = 0xBF;  // continuation bytes due, range of the next one
  bool ascii_ = true;
};

/// XORs `size` bytes with the key (as in memory); returns the key for the byte that follows.
std::uint32_t apply_mask(char* data, std::size_t size, std::uint32_t key) noexcept;

/// Reads the frames of one peer.
class Decoder {
 public:
  enum class Kind : std::uint8_t { none, text, binary, ping, pong, close, failure };
  struct Event {
    Kind kind = Kind::none;
    bool ascii = false;            // text: every byte is below 0x80
    std::uint16_t close_code = 0;  // close; 1005 when the frame had none
    std::string_view data;         // payload or close reason; valid until the next call, or the buffer's change
    const Failure* failure = nullptr;
  };

  /// `role` is ours: a server demands masked frames, a client unmasked ones.
  Decoder(Role role, const FrameLimits& limits, const std::optional<DeflateParams>& deflate);
  Decoder(Decoder&&) noexcept;
  ~Decoder();

  /// Next event of the bytes, which are overwritten (unmasked). `used` of them are done with: all when the kind is
  /// none. After close or failure nothing more is read.
  Event next(char* data, std::size_t size, std::size_t& used);

  /// Memory that an unfinished message holds.
  std::size_t buffered() const noexcept { return message_.capacity(); }
  bool ended() const noexcept { return ended_; }

 private:
  const Failure* open_frame(const unsigned char* head, std::size_t head_size);
  const Failure* take_data(char* data, std::size_t size);
  Event end_message();
  Event end_control(char* payload);
  Event fail(const Failure& failure) noexcept;
  std::uint32_t unmask(char* data, std::size_t size) noexcept;

  FrameLimits limits_;
  std::unique_ptr<detail::Inflater, detail::InflaterEnd> inflater_;
  core::OutBuffer message_;
  std::uint64_t left_ = 0;        // payload of the frame still to come
  std::uint64_t compressed_ = 0;  // bytes of the message so far, before inflating
  std::uint64_t fragments_ = 0;   // frames of the message so far
  std::uint32_t key_ = 0;
  Utf8 utf8_;
  Role role_;
  bool deflate_ = false, keep_inflater_ = false;
  std::uint8_t inflate_bits_ = 15;
  bool in_frame_ = false, fin_ = false, inflating_ = false, ended_ = false, handed_out_ = false;
  Opcode opcode_ = Opcode::continuation;        // of the frame
  Opcode message_kind_ = Opcode::continuation;  // continuation: no message has begun
  std::uint8_t head_size_ = 0, control_size_ = 0;
  unsigned char head_[14];
  char control_[125];
};

/// Writes frames.
class Encoder {
 public:
  Encoder(Role role, const std::optional<DeflateParams>& deflate);
  Encoder(Encoder&&) noexcept;
  ~Encoder();

  /// Appends a whole message in one frame, compressed when that was agreed and is worth it. `key` masks it (role
  /// client; unpredictable, RFC 6455 section 5.3).
  void message(core::OutBuffer& out, Opcode opcode, std::string_view payload, std::uint32_t key = 0);
  /// The message would be compressed: message() has to see all of it.
  bool compresses(std::size_t size) const noexcept { return deflates_ && size >= threshold_; }
  /// Appends one frame as told; RSV1 says that the payload is compressed already.
  void frame(core::OutBuffer& out, Opcode opcode, bool fin, bool rsv1, std::string_view payload,
             std::uint32_t key = 0) const;
  /// Appends only the head of an uncompressed final frame, for payloads that go to the socket from where they are.
  void head(core::OutBuffer& out, Opcode opcode, std::size_t size) const;
  /// `code` 1005 makes a frame without payload. The reason is cut to 123 bytes at a character's end.
  void close(core::OutBuffer& out, std::uint16_t code, std::string_view reason, std::uint32_t key = 0) const;

 private:
  std::unique_ptr<detail::Deflater, detail::DeflaterEnd> deflater_;
  std::size_t threshold_ = 0;
  Role role_;
  bool deflates_ = false, keeps_ = false;
  std::uint8_t bits_ = 15;
};

// ---------------------------------------------------------------- handshake (RFC 6455 section 4)

struct HandshakeOptions {
  bool deflate = true;
  /// 0: no context takeover, the windows belong to the thread and a connection owns none. 9..15: each connection
  /// has windows of that many bits.
  int deflate_window_bits = 0;
  /// Origins that may connect with cookies besides the own one: "https://host[:port]" or "*".
  std::span<const std::string> allowed_origins;
};

struct Handshake {
  int status = 101;        // else the answer to give
  const char* text = "";   // why
  std::string accept;      // Sec-WebSocket-Accept
  std::string extensions;  // Sec-WebSocket-Extensions of the answer; empty: none
  std::optional<DeflateParams> deflate;
};

/// Judges the opening request. Status 426 wants a Sec-WebSocket-Version: 13 field in the answer.
Handshake check_handshake(const RequestHead& head, const HandshakeOptions& options);
/// Whether the request asks for a WebSocket at all: an Upgrade field that names it.
bool asks_for_websocket(const RequestHead& head) noexcept;
/// base64(SHA-1(key + GUID)), RFC 6455 section 4.2.2.
std::string accept_key(std::string_view key);
/// The tokens of all Sec-WebSocket-Protocol fields, in order; nullopt when one is not a token or comes twice.
std::optional<std::vector<std::string_view>> offered_subprotocols(const RequestHead& head);
/// Picks the first acceptable permessage-deflate offer of an extension list. False when the list is malformed.
bool negotiate_deflate(std::string_view offers, int window_bits, std::optional<DeflateParams>& agreed,
                       std::string& answer);
/// Browsers send cookies along with handshakes of any page: an Origin that is neither the Host's nor allowed may
/// not use them. Requests without Cookie or without Origin pass.
bool origin_allowed(const RequestHead& head, std::span<const std::string> allowed);

}  // namespace ws
}  // namespace fasterapi::http
