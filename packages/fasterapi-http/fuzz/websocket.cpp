// The fuzz targets of the WebSocket codec; see targets.hpp.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/http/websocket.hpp>

#include "targets.hpp"
#include "websocket/simd.hpp"

namespace fasterapi::http::fuzz {

namespace {

void demand(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

struct Told {
  ws::Decoder::Kind kind;
  bool ascii;
  std::uint16_t code;
  std::string data;
  bool operator==(const Told&) const = default;
};

std::vector<Told> decode(const std::uint8_t* data, std::size_t size, std::size_t step, ws::Role role,
                         const ws::FrameLimits& limits, const std::optional<ws::DeflateParams>& deflate) {
  ws::Decoder decoder(role, limits, deflate);
  std::vector<Told> told;
  for (std::size_t from = 0; from < size && !decoder.ended(); from += step) {
    const std::size_t piece = std::min(step, size - from);
    std::unique_ptr<char[]> bytes(new char[piece]);  // exactly: a byte too many is seen
    std::memcpy(bytes.get(), data + from, piece);
    for (std::size_t at = 0;;) {
      std::size_t used = 0;
      auto event = decoder.next(bytes.get() + at, piece - at, used);
      demand(used <= piece - at, "takes what there is");
      at += used;
      demand(decoder.buffered() <= 2 * limits.max_message_bytes + 256 * 1024, "memory is bounded");
      if (event.kind == ws::Decoder::Kind::none) break;
      demand(event.data.size() <= std::max<std::uint64_t>(limits.max_message_bytes, 125), "the limit holds");
      // What inflates to too much and to bad text as well fails with 1007 or 1009: which is seen first may depend
      // on the cut, that it fails may not.
      const bool either =
          deflate && event.kind == ws::Decoder::Kind::failure && event.close_code != ws::kProtocolError;
      told.push_back(
          {event.kind, event.ascii, either ? std::uint16_t{0} : event.close_code, std::string(event.data)});
    }
  }
  return told;
}

}  // namespace

void fuzz_websocket(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return;
  const unsigned mode = *data++;
  --size;
  ws::FrameLimits limits{.max_message_bytes = mode & 1 ? 100u : 1u << 16, .max_fragments = mode & 2 ? 3u : 64u};
  std::optional<ws::DeflateParams> deflate;
  if (mode & 4)
    deflate = ws::DeflateParams{(mode & 8) != 0, (mode & 8) != 0, static_cast<std::uint8_t>(mode & 16 ? 9 : 15),
                                static_cast<std::uint8_t>(mode & 16 ? 9 : 15)};
  const ws::Role role = mode & 32 ? ws::Role::client : ws::Role::server;
  auto whole = decode(data, size, size, role, limits, deflate);
  for (std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{16}}) {
    // zlib looks farther back than a small window as long as the bytes are in the same output: see deflate.cpp.
    const bool same = decode(data, size, step, role, limits, deflate) == whole;
    demand(same || (deflate && deflate->client_max_window_bits < 15), "a split changes nothing");
  }

  // What was read can be written and read again.
  const ws::Role other = role == ws::Role::server ? ws::Role::client : ws::Role::server;
  ws::Encoder encoder(other, deflate);
  core::OutBuffer out;
  std::vector<Told> wanted;
  for (const Told& one : whole) {
    if (one.kind != ws::Decoder::Kind::text && one.kind != ws::Decoder::Kind::binary) continue;
    encoder.message(out, one.kind == ws::Decoder::Kind::text ? ws::Opcode::text : ws::Opcode::binary, one.data,
                    mode);
    wanted.push_back(one);
  }
  if (!wanted.empty()) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(out.data());
    demand(decode(bytes, out.size(), out.size(), role, limits, deflate) == wanted, "written and read again");
  }

  const auto* text = reinterpret_cast<const char*>(data);
  for (const ws::Vectors* tier : ws::all_vectors()) {
    if (!tier->supported()) continue;
    std::string a(text, size), b = a;
    tier->mask(a.data(), size, mode * 0x01020408u);
    ws::kVectorsScalar.mask(b.data(), size, mode * 0x01020408u);
    demand(a == b, "masks agree");
    bool ascii = true;
    std::unique_ptr<char[]> exact(new char[size]);
    std::memcpy(exact.get(), text, size);
    const std::size_t prefix = tier->valid_prefix(exact.get(), size, ascii);
    demand(prefix <= size, "a prefix");
    ws::Utf8 utf8;
    for (std::size_t i = 0; i < prefix; ++i) demand(utf8.feed(text + i, 1), "the prefix is valid");
    demand(utf8.complete(), "the prefix ends with a character");
    if (ascii) demand(utf8.ascii(), "the prefix is ASCII");
  }
  ws::Utf8 at_once, one_by_one;
  const bool good = at_once.feed(text, size);
  bool slow = true;
  for (std::size_t i = 0; slow && i < size; ++i) slow = one_by_one.feed(text + i, 1);
  demand(good == slow, "text is valid or not, at once and byte by byte");
  if (good)
    demand(at_once.complete() == one_by_one.complete() && at_once.ascii() == one_by_one.ascii(), "the same text");
}

void fuzz_websocket_offer(const std::uint8_t* data, std::size_t size) {
  std::string_view offers(reinterpret_cast<const char*>(data), size);
  for (int window : {0, 9, 12, 15}) {
    std::optional<ws::DeflateParams> agreed, again;
    std::string answer, echoed;
    if (!ws::negotiate_deflate(offers, window, agreed, answer)) continue;
    demand(agreed.has_value() == !answer.empty(), "an answer for an agreement");
    if (!agreed) continue;
    demand(agreed->server_max_window_bits >= 8 && agreed->server_max_window_bits <= 15 &&
               agreed->client_max_window_bits >= 8 && agreed->client_max_window_bits <= 15,
           "windows that exist");
    // Our own answer is a well-formed offer.
    demand(ws::negotiate_deflate(answer, window, again, echoed) && again, "the answer parses");
    demand(again->server_max_window_bits == agreed->server_max_window_bits, "and says the same");
  }
}

}  // namespace fasterapi::http::fuzz
