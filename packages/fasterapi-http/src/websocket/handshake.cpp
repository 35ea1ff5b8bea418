// The opening handshake of RFC 6455 section 4.2 and the extension negotiation of RFC 7692 section 7.
#include <openssl/evp.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include <fasterapi/http/parser.hpp>
#include <fasterapi/http/response_head.hpp>
#include <fasterapi/http/websocket.hpp>

namespace fasterapi::http::ws {
namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t kMaxOffers = 16;  // of extensions that are looked at

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool same_text(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

/// Splits at commas outside quotes; false when `fn` says so.
template <class Fn>
bool each_element(std::string_view list, Fn fn) {
  while (!list.empty()) {
    std::size_t comma = list.find(',');
    std::string_view element = trimmed(list.substr(0, comma));
    list = comma == list.npos ? std::string_view{} : list.substr(comma + 1);
    if (!element.empty() && !fn(element)) return false;
  }
  return true;
}

/// Exactly one such field; nullopt for several, empty with data() null for none.
std::optional<std::string_view> single(const RequestHead& head, std::string_view name) noexcept {
  unsigned i = head.find_index(name);
  if (i == head.field_count) return std::string_view{};
  if (head.find_index(name, i + 1) != head.field_count) return std::nullopt;
  return head.value(i);
}

/// base64 of 16 bytes (RFC 6455 section 4.1): 22 digits of which the last has four bits to spare, and "==".
bool valid_key(std::string_view key) noexcept {
  if (key.size() != 24 || key.substr(22) != "==") return false;
  for (char c : key.substr(0, 22))
    if (kBase64.find(c) == kBase64.npos) return false;
  return (kBase64.find(key[21]) & 15) == 0;
}

/// A reader of `token *( OWS ";" OWS token [ "=" ( token / quoted-string ) ] )`.
class ExtensionParser {
 public:
  explicit ExtensionParser(std::string_view text) : text_(text) {}
  bool at_end() {
    blanks();
    return text_.empty();
  }
  bool take(char c) {
    blanks();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::string_view token() {
    blanks();
    std::size_t size = 0;
    while (size < text_.size() && valid_field_name(text_.substr(size, 1))) ++size;
    std::string_view found = text_.substr(0, size);
    text_.remove_prefix(size);
    return found;
  }
  /// Token, or a quoted string whose text is a token (RFC 6455 section 9.1).
  bool value(std::string& out) {
    out.clear();
    if (!take('"')) {
      out = token();
      return !out.empty();
    }
    while (!text_.empty() && text_.front() != '"') {
      if (text_.front() == '\\') text_.remove_prefix(1);
      if (text_.empty()) return false;
      out += text_.front();
      text_.remove_prefix(1);
    }
    return take('"') && !out.empty() && valid_field_name(out);
  }

 private:
  void blanks() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\t')) text_.remove_prefix(1);
  }
  std::string_view text_;
};

/// 8..15 in its one spelling, else 0.
int window_bits_of(std::string_view text) noexcept {
  if (text.size() == 1 && (text[0] == '8' || text[0] == '9')) return text[0] - '0';
  if (text.size() == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5') return 10 + text[1] - '0';
  return 0;
}

struct Offer {
  bool good = true;
  bool server_no_takeover = false, client_no_takeover = false, client_bits_known = false;
  int server_bits = 0, client_bits = 0;  // 0: not said
};

bool parse_parameter(const std::string& name, bool has_value, const std::string& value, Offer& offer) {
  // RFC 7692 section 7.1: an unknown, repeated or invalid parameter declines the offer, not the connection.
  if (same_text(name, "server_no_context_takeover")) {
    return !has_value && !std::exchange(offer.server_no_takeover, true);
  }
  if (same_text(name, "client_no_context_takeover")) {
    return !has_value && !std::exchange(offer.client_no_takeover, true);
  }
  if (same_text(name, "server_max_window_bits")) {
    int bits = has_value ? window_bits_of(value) : 0;
    return bits && !std::exchange(offer.server_bits, bits);
  }
  if (same_text(name, "client_max_window_bits")) {
    if (std::exchange(offer.client_bits_known, true)) return false;
    if (!has_value) return true;
    offer.client_bits = window_bits_of(value);
    return offer.client_bits != 0;
  }
  return false;
}

void accept_offer(const Offer& offer, int window_bits, std::optional<DeflateParams>& agreed, std::string& answer) {
  DeflateParams params;
  const bool shared = window_bits == 0;
  const int own = shared ? 15 : window_bits;
  params.server_no_context_takeover = shared || offer.server_no_takeover;
  params.server_max_window_bits =
      static_cast<std::uint8_t>(offer.server_bits ? std::min(offer.server_bits, own) : own);
  // Without a value of ours in the answer the client may use any window; the shared ones are full ones anyway.
  if (offer.client_bits_known && !shared)
    params.client_max_window_bits =
        static_cast<std::uint8_t>(offer.client_bits ? std::min(offer.client_bits, own) : own);
  // A client that cannot be told the size of its window would cost a full one per connection.
  params.client_no_context_takeover =
      shared || offer.client_no_takeover || (!offer.client_bits_known && window_bits < 15);
  answer = "permessage-deflate";
  if (params.server_no_context_takeover) answer += "; server_no_context_takeover";
  if (params.client_no_context_takeover) answer += "; client_no_context_takeover";
  if (offer.server_bits || params.server_max_window_bits < 15)
    answer += "; server_max_window_bits=" + std::to_string(params.server_max_window_bits);
  if (offer.client_bits_known && params.client_max_window_bits < 15)
    answer += "; client_max_window_bits=" + std::to_string(params.client_max_window_bits);
  agreed = params;
}

Handshake refusal(int status, const char* text) {
  Handshake result;
  result.status = status;
  result.text = text;
  return result;
}

/// "host[:port]" without the port that the scheme implies.
std::string_view without_default_port(std::string_view authority, std::string_view scheme) noexcept {
  std::string_view port = same_text(scheme, "http") || same_text(scheme, "ws") ? ":80" : ":443";
  return authority.ends_with(port) ? authority.substr(0, authority.size() - port.size()) : authority;
}

}  // namespace

bool asks_for_websocket(const RequestHead& head) noexcept {
  for (unsigned i = head.find_index("upgrade"); i < head.field_count; i = head.find_index("upgrade", i + 1)) {
    bool found = !each_element(head.value(i), [](std::string_view one) { return !same_text(one, "websocket"); });
    if (found) return true;
  }
  return false;
}

std::string accept_key(std::string_view key) {
  std::string text(key);
  text += kGuid;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr) != 1 || size != 20)
    throw std::runtime_error("SHA-1 is not available");
  unsigned char encoded[29];
  EVP_EncodeBlock(encoded, digest, 20);
  return {reinterpret_cast<const char*>(encoded), 28};
}

std::optional<std::vector<std::string_view>> offered_subprotocols(const RequestHead& head) {
  std::vector<std::string_view> found;
  constexpr std::string_view kName = "sec-websocket-protocol";
  for (unsigned i = head.find_index(kName); i < head.field_count; i = head.find_index(kName, i + 1)) {
    bool good = each_element(head.value(i), [&](std::string_view one) {
      if (!valid_field_name(one) || std::find(found.begin(), found.end(), one) != found.end()) return false;
      found.push_back(one);
      return true;
    });
    if (!good) return std::nullopt;
  }
  return found;
}

bool negotiate_deflate(std::string_view offers, int window_bits, std::optional<DeflateParams>& agreed,
                       std::string& answer) {
  ExtensionParser parser(offers);
  std::string value;
  for (std::size_t count = 0; !parser.at_end(); ++count) {
    if (parser.take(',')) continue;  // RFC 9110 section 5.6.1: empty elements
    if (count > kMaxOffers) return false;
    std::string_view name = parser.token();
    if (name.empty()) return false;
    Offer offer;
    offer.good = same_text(name, "permessage-deflate");
    while (parser.take(';')) {
      std::string parameter(parser.token());
      if (parameter.empty()) return false;
      bool has_value = parser.take('=');
      if (has_value && !parser.value(value)) return false;
      offer.good = offer.good && parse_parameter(parameter, has_value, value, offer);
    }
    if (offer.good && !agreed) accept_offer(offer, window_bits, agreed, answer);
    if (!parser.at_end() && !parser.take(',')) return false;
  }
  return true;
}

bool origin_allowed(const RequestHead& head, std::span<const std::string> allowed) {
  auto origin = single(head, "origin");
  if (!origin) return false;
  if (!origin->data() || head.find("cookie").data() == nullptr) return true;
  for (const std::string& one : allowed)
    if (one == "*" || same_text(one, *origin)) return true;
  std::size_t at = origin->find("://");
  if (at == origin->npos) return false;  // "null" and the like
  std::string_view scheme = origin->substr(0, at), authority = origin->substr(at + 3);
  return same_text(without_default_port(authority, scheme), without_default_port(head.host(), scheme));
}

Handshake check_handshake(const RequestHead& head, const HandshakeOptions& options) {
  if (head.method != Method::get) return refusal(405, "A WebSocket handshake is a GET request\n");
  if (head.minor_version != 1 || !head.upgrade || !asks_for_websocket(head))
    return refusal(400, "A WebSocket handshake needs HTTP/1.1, Connection: Upgrade and Upgrade: websocket\n");
  if (head.has_body()) return refusal(400, "A WebSocket handshake has no body\n");
  auto version = single(head, "sec-websocket-version");
  if (!version) return refusal(400, "Sec-WebSocket-Version comes more than once\n");
  if (*version != "13") return refusal(426, "Only version 13 of the WebSocket protocol is spoken here\n");
  auto key = single(head, "sec-websocket-key");
  if (!key || !valid_key(*key)) return refusal(400, "Sec-WebSocket-Key is not 16 bytes in base64\n");
  if (!offered_subprotocols(head))
    return refusal(400, "Sec-WebSocket-Protocol is not a list of different tokens\n");
  if (!origin_allowed(head, options.allowed_origins))
    return refusal(403, "A page of this origin may not use the cookies of this host (ws_allowed_origins)\n");
  Handshake result;
  constexpr std::string_view kName = "sec-websocket-extensions";
  std::optional<DeflateParams> agreed;
  for (unsigned i = head.find_index(kName); i < head.field_count; i = head.find_index(kName, i + 1))
    if (!negotiate_deflate(head.value(i), options.deflate_window_bits, agreed, result.extensions))
      return refusal(400, "Sec-WebSocket-Extensions is malformed\n");
  if (options.deflate)
    result.deflate = agreed;
  else
    result.extensions.clear();
  result.accept = accept_key(*key);
  return result;
}

}  // namespace fasterapi::http::ws
