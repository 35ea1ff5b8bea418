// Frames by table: id, bytes that a client sends, the events that come of them, the section that says so. Every
// row is fed whole, cut at every byte, and byte by byte.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include <fasterapi/http/websocket.hpp>

#include "websocket/simd.hpp"

namespace fasterapi::http::ws {
namespace {

constexpr std::uint32_t kKey = 0x3d21fa37;

std::string masked(std::string bytes, std::uint32_t key = kKey) {
  kVectorsScalar.mask(bytes.data(), bytes.size(), key);
  return bytes;
}

/// A frame as a client sends it; first = FIN, RSV and opcode.
std::string frame(unsigned first, const std::string& payload) {
  core::OutBuffer out;
  Encoder encoder(Role::client, std::nullopt);
  encoder.frame(out, static_cast<Opcode>(first & 15), first & 0x80, first & 0x40, payload, kKey);
  std::string bytes(out.view());
  bytes[0] = static_cast<char>(first);
  return bytes;
}

std::string key_bytes() { return {reinterpret_cast<const char*>(&kKey), 4}; }

/// What a decoder makes of the bytes, cut where `cuts` say, as text: "text:Hello|close:1000:bye|fail:1002".
std::string events(const std::string& bytes, std::vector<std::size_t> cuts,
                   std::optional<DeflateParams> deflate = {}, FrameLimits limits = {}, Role role = Role::server) {
  Decoder decoder(role, limits, deflate);
  std::string log;
  std::size_t from = 0;
  cuts.push_back(bytes.size());
  for (std::size_t to : cuts) {
    std::vector<char> piece(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                            bytes.begin() + static_cast<std::ptrdiff_t>(to));
    from = to;
    std::size_t at = 0;
    for (;;) {
      std::size_t used = 0;
      auto event = decoder.next(piece.data() + at, piece.size() - at, used);
      at += used;
      if (event.kind == Decoder::Kind::none) break;
      if (!log.empty()) log += '|';
      static constexpr const char* kNames[] = {"none", "text", "binary", "ping", "pong", "close", "fail"};
      log += kNames[static_cast<int>(event.kind)];
      log += ':';
      if (event.kind == Decoder::Kind::close || event.kind == Decoder::Kind::failure)
        log += std::to_string(event.close_code);
      if (event.kind == Decoder::Kind::close && !event.data.empty()) log += ':';
      log += event.data;
    }
  }
  return log;
}

void expect_events(const std::string& id, const std::string& bytes, const std::string& wanted,
                   std::optional<DeflateParams> deflate = {}) {
  EXPECT_EQ(events(bytes, {}, deflate), wanted) << id;
  std::vector<std::size_t> each;
  const std::size_t most = std::min<std::size_t>(bytes.size(), 400);
  for (std::size_t cut = 1; cut < most; ++cut) {
    EXPECT_EQ(events(bytes, {cut}, deflate), wanted) << id << " cut at " << cut;
    each.push_back(cut);
  }
  EXPECT_EQ(events(bytes, each, deflate), wanted) << id << " byte by byte";
}

struct Row {
  const char* id;
  std::string bytes;
  std::string events;
  const char* section;
};

const std::string kLong(70000, 'x'), k126(126, 'a'), k125(125, 'a');
const std::string kGreek = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

std::string close_payload(unsigned code, const std::string& reason = "") {
  return std::string{static_cast<char>(code >> 8), static_cast<char>(code)} + reason;
}

TEST(WebSocketFrames, Table) {
  const Row rows[] = {
      // --- framing
      {"1.1.1 empty text", frame(0x81, ""), "text:", "5.6"},
      {"1.1.2 text of 125", frame(0x81, k125), "text:" + k125, "5.2"},
      {"1.1.3 text of 126", frame(0x81, k126), "text:" + k126, "5.2"},
      {"1.1.6 text of 65536+", frame(0x81, kLong), "text:" + kLong, "5.2"},
      {"1.2.1 empty binary", frame(0x82, ""), "binary:", "5.6"},
      {"1.2.4 two messages", frame(0x82, "a") + frame(0x81, "b"), "binary:a|text:b", "5.4"},
      // --- pings and pongs
      {"2.1 ping", frame(0x89, ""), "ping:", "5.5.2"},
      {"2.4 ping of 125", frame(0x89, k125), "ping:" + k125, "5.5.2"},
      {"2.5 ping of 126", frame(0x89, k126), "fail:1002", "5.5"},
      {"2.7 pong nobody asked for", frame(0x8a, "x"), "pong:x", "5.5.3"},
      {"2.10 pings", frame(0x89, "1") + frame(0x89, "2"), "ping:1|ping:2", "5.5.2"},
      // --- reserved bits
      {"3.1 RSV3", frame(0x91, "x"), "fail:1002", "5.2"},
      {"3.2 RSV2", frame(0xa1, "x"), "fail:1002", "5.2"},
      {"3.4 RSV1 without extension", frame(0xc1, "x"), "fail:1002", "5.2"},
      {"3.6 RSV1 on a ping", frame(0xc9, "x"), "fail:1002", "5.2"},
      {"3.7 after a good message", frame(0x81, "a") + frame(0xf1, "x"), "text:a|fail:1002", "5.2"},
      // --- opcodes
      {"4.1.1 opcode 3", frame(0x83, ""), "fail:1002", "5.2"},
      {"4.1.5 opcode 7", frame(0x87, "x"), "fail:1002", "5.2"},
      {"4.2.1 opcode 11", frame(0x8b, ""), "fail:1002", "5.2"},
      {"4.2.5 opcode 15", frame(0x8f, "x"), "fail:1002", "5.2"},
      // --- masks and lengths
      {"m.1 not masked", std::string("\x81\x01x", 3), "fail:1002", "5.1"},
      {"m.2 key of zeros", std::string("\x81\x83\0\0\0\0abc", 9), "text:abc", "5.3"},
      {"l.1 16 bits for 125", std::string("\x82\xfe\x00\x7d", 4) + key_bytes() + masked(k125), "fail:1002", "5.2"},
      {"l.2 64 bits for 65535", std::string("\x82\xff\0\0\0\0\0\0\xff\xff", 10) + key_bytes(), "fail:1002", "5.2"},
      {"l.3 top bit", std::string("\x82\xff\x80\0\0\0\0\1\0\0", 10) + key_bytes(), "fail:1002", "5.2"},
      {"l.4 2^63-1", std::string("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10) + key_bytes(), "fail:1009",
       "7.4.1"},
      // --- fragments
      {"5.1 fragmented ping", frame(0x09, "a") + frame(0x80, "b"), "fail:1002", "5.5"},
      {"5.2 fragmented pong", frame(0x0a, "a") + frame(0x80, "b"), "fail:1002", "5.5"},
      {"5.3 two fragments", frame(0x01, "ab") + frame(0x80, "cd"), "text:abcd", "5.4"},
      {"5.6 ping between", frame(0x01, "ab") + frame(0x89, "p") + frame(0x80, "cd"), "ping:p|text:abcd", "5.4"},
      {"5.9 continuation of nothing", frame(0x80, "x"), "fail:1002", "5.4"},
      {"5.12 not final, of nothing", frame(0x00, "x"), "fail:1002", "5.4"},
      {"5.15 after the end", frame(0x01, "a") + frame(0x80, "b") + frame(0x00, "c"), "text:ab|fail:1002", "5.4"},
      {"5.18 text inside text", frame(0x01, "a") + frame(0x81, "b"), "fail:1002", "5.4"},
      {"5.19 five with pings",
       frame(0x01, "1") + frame(0x00, "2") + frame(0x89, "p") + frame(0x00, "3") + frame(0x00, "4") +
           frame(0x89, "q") + frame(0x80, "5"),
       "ping:p|ping:q|text:12345", "5.4"},
      {"5.20 close inside a message", frame(0x01, "1") + frame(0x88, ""), "close:1005", "5.5.1"},
      // --- UTF-8
      {"6.1.1 empty fragments", frame(0x01, "") + frame(0x00, "") + frame(0x80, ""), "text:", "8.1"},
      {"6.2.1 text", frame(0x81, "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!"),
       "text:Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!", "8.1"},
      {"6.2.4 cut inside a character", frame(0x01, kGreek.substr(0, 3)) + frame(0x80, kGreek.substr(3)),
       "text:" + kGreek, "8.1"},
      {"6.3.1 invalid", frame(0x81, kGreek + "\xed\xa0\x80" + "edited"), "fail:1007", "8.1"},
      {"6.4.1 fails before the end", frame(0x01, kGreek + "\xf4\x90\x80\x80"), "fail:1007", "8.1"},
      {"6.5.1 fails inside a character", frame(0x01, kGreek + "\xf4\x90"), "fail:1007", "8.1"},
      {"6.6.1 ends inside a character", frame(0x81, "\xce"), "fail:1007", "8.1"},
      {"6.8 five bytes", frame(0x81, "\xf8\x88\x80\x80\x80"), "fail:1007", "8.1"},
      {"6.12 lonely continuation", frame(0x81, "\x80"), "fail:1007", "8.1"},
      {"6.15 overlong", frame(0x81, "\xc0\xaf"), "fail:1007", "8.1"},
      {"6.21 surrogate", frame(0x81, "\xed\xa0\x80"), "fail:1007", "8.1"},
      {"6.22 noncharacter", frame(0x81, "\xef\xbf\xbe"), "text:\xef\xbf\xbe", "8.1"},
      {"6.x binary may hold anything", frame(0x82, "\xff\xfe"), "binary:\xff\xfe", "5.6"},
      // --- close
      {"7.1.1 close after text", frame(0x81, "a") + frame(0x88, close_payload(1000)), "text:a|close:1000",
       "5.5.1"},
      {"7.1.3 nothing after close", frame(0x88, close_payload(1000)) + frame(0x89, "x"), "close:1000", "5.5.1"},
      {"7.3.1 close without payload", frame(0x88, ""), "close:1005", "5.5.1"},
      {"7.3.2 payload of one byte", frame(0x88, "x"), "fail:1002", "5.5.1"},
      {"7.3.4 with reason", frame(0x88, close_payload(1000, "bye")), "close:1000:bye", "5.5.1"},
      {"7.3.5 reason of 123", frame(0x88, close_payload(1000, k125.substr(2))), "close:1000:" + k125.substr(2),
       "5.5"},
      {"7.3.6 reason of 124", frame(0x88, close_payload(1000, k125.substr(1))), "fail:1002", "5.5"},
      {"7.5.1 reason not UTF-8", frame(0x88, close_payload(1000, "\xed\xa0\x80")), "fail:1007", "8.1"},
  };
  for (const Row& row : rows) expect_events(row.id, row.bytes, row.events);
}

TEST(WebSocketFrames, CloseCodes) {
  for (unsigned code :
       {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}) {
    EXPECT_EQ(events(frame(0x88, close_payload(code)), {}), "close:" + std::to_string(code));
  }
  for (unsigned code : {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    EXPECT_EQ(events(frame(0x88, close_payload(code)), {}), "fail:1002") << code;
  }
}

TEST(WebSocketFrames, ServersMayNotMask) {
  EXPECT_EQ(events(frame(0x81, "x"), {}, {}, {}, Role::client), "fail:1002");
  EXPECT_EQ(events(std::string("\x81\x01x", 3), {}, {}, {}, Role::client), "text:x");
  EXPECT_EQ(events(std::string("\x81\x00\x89\x00", 4), {1, 2, 3}, {}, {}, Role::client), "text:|ping:");
}

TEST(WebSocketFrames, LimitCountsAllFragments) {
  FrameLimits limits{.max_message_bytes = 10, .max_fragments = 3};
  EXPECT_EQ(events(frame(0x82, "0123456789"), {}, {}, limits), "binary:0123456789");
  EXPECT_EQ(events(frame(0x82, "0123456789a"), {}, {}, limits), "fail:1009");
  EXPECT_EQ(events(frame(0x02, "01234") + frame(0x80, "56789"), {}, {}, limits), "binary:0123456789");
  EXPECT_EQ(events(frame(0x02, "01234") + frame(0x80, "56789a"), {}, {}, limits), "fail:1009");
  EXPECT_EQ(events(frame(0x02, "") + frame(0x00, "") + frame(0x80, ""), {}, {}, limits), "binary:");
  EXPECT_EQ(events(frame(0x02, "") + frame(0x00, "") + frame(0x00, ""), {}, {}, limits), "");
  EXPECT_EQ(events(frame(0x02, "") + frame(0x00, "") + frame(0x00, "") + frame(0x00, ""), {}, {}, limits),
            "fail:1008");
}

TEST(WebSocketFrames, AnnouncedLengthsAreNotBelieved) {
  Decoder decoder(Role::server, {.max_message_bytes = 1u << 30}, std::nullopt);
  std::string bytes = std::string("\x82\xff\0\0\0\0\x3f\0\0\0", 10) + key_bytes() + "x";
  std::size_t used = 0;
  EXPECT_EQ(decoder.next(bytes.data(), bytes.size(), used).kind, Decoder::Kind::none);
  EXPECT_LE(decoder.buffered(), 128u * 1024);
}

TEST(WebSocketFrames, DribbledBytesCostWhatArrived) {
  FrameLimits limits{.max_message_bytes = 1u << 20, .max_fragments = ~std::uint64_t{0}};
  Decoder decoder(Role::server, limits, std::nullopt);
  std::string first = frame(0x02, ""), next = frame(0x00, "");
  std::size_t used = 0;
  EXPECT_EQ(decoder.next(first.data(), first.size(), used).kind, Decoder::Kind::none);
  for (int i = 0; i < 1'000'000; ++i) {
    std::string copy = next;
    ASSERT_EQ(decoder.next(copy.data(), copy.size(), used).kind, Decoder::Kind::none);
  }
  EXPECT_LE(decoder.buffered(), 128u * 1024);
}

// ---------------------------------------------------------------- vectors

TEST(WebSocketVectors, MaskAgreesWithTheScalarLoop) {
  std::string text(300, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  for (const Vectors* tier : all_vectors()) {
    if (!tier->supported()) continue;
    for (std::size_t start = 0; start < 64; ++start) {
      for (std::size_t size = 0; size <= 200; ++size) {
        std::string got = text, wanted = text;
        tier->mask(got.data() + start, size, kKey);
        kVectorsScalar.mask(wanted.data() + start, size, kKey);
        ASSERT_EQ(got, wanted) << tier->name << ' ' << start << ' ' << size;
      }
    }
  }
}

/// By the definition, with no cleverness: RFC 3629 section 4.
std::size_t valid_bytes(const std::string& s) {
  std::size_t at = 0;
  auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  while (at < s.size()) {
    unsigned c = byte(at);
    if (c < 0x80)
      at += 1;
    else if (c >= 0xC2 && c <= 0xDF && tail(at + 1))
      at += 2;
    else if (c == 0xE0 && tail(at + 1, 0xA0) && tail(at + 2))
      at += 3;
    else if (c == 0xED && tail(at + 1, 0x80, 0x9F) && tail(at + 2))
      at += 3;
    else if (c >= 0xE1 && c <= 0xEF && c != 0xED && tail(at + 1) && tail(at + 2))
      at += 3;
    else if (c == 0xF0 && tail(at + 1, 0x90) && tail(at + 2) && tail(at + 3))
      at += 4;
    else if (c >= 0xF1 && c <= 0xF3 && tail(at + 1) && tail(at + 2) && tail(at + 3))
      at += 4;
    else if (c == 0xF4 && tail(at + 1, 0x80, 0x8F) && tail(at + 2) && tail(at + 3))
      at += 4;
    else
      break;
  }
  return at;
}

TEST(WebSocketVectors, PrefixIsValidAndUtf8AgreesWithTheDefinition) {
  std::uint64_t random = 88172645463325252ull;
  auto next = [&] {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random;
  };
  const std::string pieces[] = {"a",
                                "abcdefghijklmnopqrstuvwxyz012345",
                                "\xc2\xb5",
                                "\xe2\x82\xac",
                                "\xed\x9f\xbf",
                                "\xef\xbf\xbf",
                                "\xf0\x9f\x98\x80",
                                "\xf4\x8f\xbf\xbf"};
  const std::string bad[] = {"\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf",
                             "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                             "\xff",         "\xe2\x82",         "\xf0\x9f\x98",     "\xc2"};
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    std::size_t count = next() % 60;
    for (std::size_t i = 0; i < count; ++i) text += pieces[next() % std::size(pieces)];
    if (next() % 2) {
      std::size_t at = valid_bytes(text.substr(0, text.empty() ? 0 : next() % text.size()));
      text.insert(at, bad[next() % std::size(bad)]);
    }
    const std::size_t good = valid_bytes(text);
    for (const Vectors* tier : all_vectors()) {
      if (!tier->supported()) continue;
      bool ascii = true;
      std::size_t prefix = tier->valid_prefix(text.data(), text.size(), ascii);
      ASSERT_LE(prefix, good) << tier->name;
      ASSERT_EQ(valid_bytes(text.substr(0, prefix)), prefix) << tier->name;
      if (ascii) {
        for (char c : text.substr(0, prefix)) ASSERT_GE(c, 0) << tier->name;
      }
    }
    const std::size_t cut = text.empty() ? 0 : next() % text.size();
    Utf8 utf8;
    bool accepted =
        utf8.feed(text.data(), cut) && utf8.feed(text.data() + cut, text.size() - cut) && utf8.complete();
    ASSERT_EQ(accepted, good == text.size());
    if (accepted) {
      ASSERT_EQ(utf8.ascii(), text.find_first_not_of([] {
        std::string all;
        for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
        return all;
      }()) == text.npos);
    }
  }
}

// ---------------------------------------------------------------- permessage-deflate

std::string compressed_message(Encoder& encoder, Opcode opcode, const std::string& text) {
  core::OutBuffer out;
  encoder.message(out, opcode, text, kKey);
  return std::string(out.view());
}

TEST(WebSocketDeflate, RoundTrips) {
  for (bool takeover : {false, true}) {
    for (unsigned bits : {8u, 9u, 12u, 15u}) {
      DeflateParams params{!takeover, !takeover, static_cast<std::uint8_t>(bits), static_cast<std::uint8_t>(bits)};
      Encoder encoder(Role::client, params);
      std::string bytes, wanted;
      for (std::size_t size : {0u, 1u, 40u, 300u, 5000u, 70000u, 300u, 300u}) {
        std::string text;
        while (text.size() < size) text += "{\"id\":" + std::to_string(text.size() * 7919 % 1000) + "},";
        bytes += compressed_message(encoder, Opcode::text, text);
        wanted += (wanted.empty() ? "text:" : "|text:") + text;
      }
      EXPECT_EQ(events(bytes, {}, params), wanted) << takeover << bits;
      for (std::size_t cut : {1u, 2u, 7u, 100u, 1000u}) EXPECT_EQ(events(bytes, {cut}, params), wanted);
      if (bits > 8) {
        EXPECT_LT(bytes.size(), wanted.size() / 2);
      }
    }
  }
}

// RFC 7692 section 7.2.3, byte for byte.
TEST(WebSocketDeflate, ExamplesOfTheRfc) {
  const DeflateParams takeover{};
  auto bytes = [](std::initializer_list<unsigned> list) {
    std::string text;
    for (unsigned c : list) text += static_cast<char>(c);
    return text;
  };
  const std::string hello = bytes({0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00});
  const Row rows[] = {
      {"7.2.3.1 one block", frame(0xc1, hello), "text:Hello", "7692 7.2.3.1"},
      {"7.2.3.1 two fragments", frame(0x41, hello.substr(0, 3)) + frame(0x80, hello.substr(3)), "text:Hello",
       "7692 7.2.3.1"},
      {"7.2.3.2 shared window", frame(0xc1, hello) + frame(0xc1, bytes({0xf2, 0x00, 0x11, 0x00, 0x00})),
       "text:Hello|text:Hello", "7692 7.2.3.2"},
      {"7.2.3.3 stored", frame(0xc1, bytes({0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00})),
       "text:Hello", "7692 7.2.3.3"},
      {"7.2.3.4 BFINAL", frame(0xc1, bytes({0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00})), "text:Hello",
       "7692 7.2.3.4"},
      {"7.2.3.5 two blocks",
       frame(0xc1, bytes({0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00})),
       "text:Hello", "7692 7.2.3.5"},
      {"7.2.3.6 empty", frame(0xc1, bytes({0x00})), "text:", "7692 7.2.3.6"},
      {"ping inside", frame(0x41, hello.substr(0, 3)) + frame(0x89, "p") + frame(0x80, hello.substr(3)),
       "ping:p|text:Hello", "7692 6"},
      {"empty fragment at the end", frame(0x41, hello) + frame(0x80, ""), "text:Hello", "7692 6.1"},
      {"not compressed", frame(0x81, "plain"), "text:plain", "7692 6"},
      {"RSV1 on a continuation", frame(0x41, hello.substr(0, 3)) + frame(0xc0, hello.substr(3)), "fail:1002",
       "7692 6.1"},
      {"RSV1 on a ping", frame(0xc9, "x"), "fail:1002", "7692 6"},
      {"RSV2", frame(0xa1, "x"), "fail:1002", "6455 5.2"},
      {"no deflate at all", frame(0xc1, bytes({0xff, 0xff, 0xff})), "fail:1007", "7692 6.2"},
      {"cut inside a block", frame(0xc1, hello.substr(0, 4)), "fail:1007", "7692 6.2"},
      {"inflates to what is not UTF-8", frame(0xc1, bytes({0xfa, 0x0f, 0x00})), "fail:1007", "6455 8.1"},
  };
  for (const Row& row : rows) expect_events(row.id, row.bytes, row.events, takeover);
}

TEST(WebSocketDeflate, ContextTakeoverThatWasNotAgreedFails) {
  Encoder liar(Role::client, DeflateParams{});
  std::string text;
  for (int i = 0; i < 60; ++i) text += std::to_string(i * 7919);
  std::string first = compressed_message(liar, Opcode::text, text),
              second = compressed_message(liar, Opcode::text, text);
  EXPECT_EQ(events(first + second, {}, DeflateParams{}), "text:" + text + "|text:" + text);
  EXPECT_EQ(events(first + second, {}, DeflateParams{true, true, 15, 15}), "text:" + text + "|fail:1007");
}

TEST(WebSocketDeflate, LimitsHoldWhileInflating) {
  const DeflateParams params{true, true, 15, 15};
  Encoder encoder(Role::client, params);
  const std::string bomb = compressed_message(encoder, Opcode::binary, std::string(8u << 20, '\0'));
  ASSERT_LT(bomb.size(), 64u * 1024);
  EXPECT_EQ(events(bomb, {}, params), "fail:1009");
  Decoder decoder(Role::server, {}, params);
  std::string copy = bomb;
  std::size_t used = 0;
  EXPECT_EQ(decoder.next(copy.data(), copy.size(), used).kind, Decoder::Kind::failure);
  EXPECT_LE(decoder.buffered(), 4u << 20);
  // A larger limit leaves the ratio.
  EXPECT_EQ(events(bomb, {}, params, {.max_message_bytes = 64u << 20}), "fail:1009");
  EXPECT_EQ(events(bomb, {}, params, {.max_message_bytes = 64u << 20, .max_inflate_ratio = 0}).substr(0, 7),
            "binary:");
  const std::string fits = compressed_message(encoder, Opcode::binary, std::string(1u << 20, '\0'));
  EXPECT_EQ(events(fits, {}, params).size(), 7 + (1u << 20));
  const std::string more = compressed_message(encoder, Opcode::binary, std::string((1u << 20) + 1, '\0'));
  EXPECT_EQ(events(more, {}, params), "fail:1009");
}

TEST(WebSocketDeflate, ManyFinalBlocksEndTheMessage) {
  std::string payload;
  for (int i = 0; i < 100000; ++i) payload += std::string("\x03\x00", 2);
  EXPECT_EQ(events(frame(0xc2, payload), {}, DeflateParams{}), "fail:1007");
}

}  // namespace
}  // namespace fasterapi::http::ws
