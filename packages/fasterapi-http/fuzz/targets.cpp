#include "targets.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/http/chunked.hpp>
#include <fasterapi/http/form.hpp>
#include <fasterapi/http/router.hpp>
#include <fasterapi/http/uri.hpp>

#include "parser/head.hpp"

namespace fasterapi::http::fuzz {

namespace {

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

/// A heap copy with exactly the promised padding, so that AddressSanitizer sees every byte too many.
struct Padded {
  Padded(const char* data, std::size_t size) : bytes(new char[size + kReadPadding]) {
    if (size) std::memcpy(bytes.get(), data, size);
    std::memset(bytes.get() + size, '\n', kReadPadding);
  }
  std::unique_ptr<char[]> bytes;
};

bool same_heads(const ParseResult& a, const RequestHead& x, const ParseResult& b, const RequestHead& y) {
  if (a.kind != b.kind || a.error != b.error) return false;
  if (!a.complete()) return true;
  bool same = a.consumed == b.consumed && x.method == y.method && x.method_text() == y.method_text() &&
              x.target() == y.target() && x.path() == y.path() && x.query() == y.query() && x.host() == y.host() &&
              x.minor_version == y.minor_version && x.keep_alive == y.keep_alive && x.chunked == y.chunked &&
              x.has_length == y.has_length && x.content_length == y.content_length && x.upgrade == y.upgrade &&
              x.expect_continue == y.expect_continue && x.path_encoded == y.path_encoded &&
              x.field_count == y.field_count;
  for (unsigned i = 0; same && i < x.field_count; ++i) same = x.name(i) == y.name(i) && x.value(i) == y.value(i);
  return same;
}

}  // namespace

void fuzz_request(const std::uint8_t* data, std::size_t size) {
  const Limits limits = clamped({});
  const auto* text = reinterpret_cast<const char*>(data);
  Padded whole(text, size);
  RequestHead reference;
  ParseResult wanted = kTierScalar.parse(whole.bytes.get(), size, limits, reference);
  for (const Tier* tier : all_tiers()) {
    if (!tier->supported()) continue;
    RequestHead head;
    ParseResult got = tier->parse(whole.bytes.get(), size, limits, head);
    require(same_heads(got, head, wanted, reference), "tiers agree");
    std::size_t cut = size ? data[size / 2] * size / 256 : 0;
    Padded part(text, cut);
    head.reset();
    got = tier->parse(part.bytes.get(), cut, limits, head);
    if (got.need_more()) got = tier->parse(whole.bytes.get(), size, limits, head);
    if (got.complete()) head.rebase(whole.bytes.get());
    require(same_heads(got, head, wanted, reference), "a split changes nothing");
  }
  static HeaderMemo memo;
  for (int round = 0; round < 2; ++round) {
    RequestHead head;
    ParseResult got = parse_request(whole.bytes.get(), size, limits, head, memo);
    require(same_heads(got, head, wanted, reference), "the memo changes nothing");
  }
}

void fuzz_chunked(const std::uint8_t* data, std::size_t size) {
  Limits limits;
  const auto* text = reinterpret_cast<const char*>(data);
  struct Result {
    std::string body;
    bool done = false;
    const ParseError* error = nullptr;
    std::size_t consumed = 0;
  };
  auto feed = [&](std::size_t step) {
    Result out;
    ChunkedDecoder decoder;
    for (std::size_t at = 0; at < size;) {
      std::size_t end = std::min(size, at + step);
      while (at < end) {
        auto event = decoder.next(text + at, end - at, limits);
        require(event.consumed <= end - at, "consumes what there is");
        at += event.consumed;
        out.consumed = at;
        if (event.kind == ChunkedDecoder::Step::Kind::data) {
          require(!event.data.empty(), "data is not empty");
          out.body += event.data;
        } else if (event.kind == ChunkedDecoder::Step::Kind::error) {
          out.error = event.error;
          return out;
        } else if (event.kind == ChunkedDecoder::Step::Kind::done) {
          out.done = true;
          return out;
        }
      }
      if (decoder.done()) {
        out.done = true;
        return out;
      }
    }
    return out;
  };
  Result whole = feed(size + 1);
  for (std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
    Result split = feed(step);
    require(split.body == whole.body && split.done == whole.done && split.error == whole.error &&
                split.consumed == whole.consumed,
            "a split changes nothing");
  }
}

void fuzz_uri(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  std::string plain = percent_decoded(text);
  require(plain.size() <= text.size(), "decoding never grows");
  std::string in_place = text;
  in_place.resize(percent_decode(in_place, in_place.data()));
  require(in_place == plain, "decoding in place");
  require(form_equals(text, form_decoded(text)), "form_equals");
  QueryReader reader(text);
  std::size_t bytes = 0;
  for (QueryPair pair; reader.next(pair);) {
    require(pair.name.find('&') == pair.name.npos && pair.value.find('&') == pair.value.npos,
            "pieces hold no '&'");
    require(pair.name.find('=') == pair.name.npos, "names hold no '='");
    bytes += pair.name.size() + pair.value.size();
  }
  require(bytes <= text.size(), "pieces are disjoint");
}

void fuzz_router(const std::uint8_t* data, std::size_t size) {
  // Lines of patterns; the last line is the path.
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t last = text.rfind('\n');
  std::string path(last == text.npos ? text : text.substr(last + 1));
  if (path.size() > 4096) return;
  Padded padded(path.data(), path.size());
  std::string_view where(padded.bytes.get(), path.size());
  RouteTable many;
  std::uint32_t count = 0;
  Match wanted, got;
  bool found = false;
  for (std::size_t at = 0; last != text.npos && at <= last && count < 80;) {
    std::size_t end = text.find('\n', at);
    std::string_view pattern = text.substr(at, end - at);
    at = end + 1;
    if (many.insert(method_bit(Method::get), pattern, count)) continue;
    RouteTable one;
    require(!one.insert(method_bit(Method::get), pattern, count), "a pattern is good or bad everywhere");
    require(!one.freeze(), "one route has no conflict");
    Match match;
    if (one.match(Method::get, where, match) && !found) {
      found = true;
      wanted = match;
    }
    ++count;
  }
  require(!many.freeze(), "registration order has no conflicts");
  require(many.match(Method::get, where, got) == found, "one of many = many of one");
  if (!found) return;
  require(got.id == wanted.id && got.capture_count == wanted.capture_count, "the first that matches");
  for (unsigned i = 0; i < got.capture_count; ++i)
    require(got.captures[i].view() == wanted.captures[i].view() &&
                got.captures[i].encoded == wanted.captures[i].encoded,
            "the same captures");
}

namespace {

std::string multipart_events(std::string_view body, std::size_t piece) {
  FormLimits limits;
  limits.max_files = 8, limits.max_fields = 8, limits.max_part_size = 512;
  MultipartParser parser("B", limits);
  std::string out;
  for (std::size_t at = 0; at < body.size(); at += piece) {
    const std::string copy(body.substr(at, piece));
    std::size_t used = 0;
    for (;;) {
      auto step = parser.next(copy.data() + used, copy.size() - used);
      used += step.consumed;
      require(used <= copy.size(), "no more is consumed than there is");
      using Event = MultipartParser::Event;
      if (step.event == Event::need_more) break;
      if (step.event == Event::error) return out + "!" + parser.error();
      if (step.event == Event::part_begin) {
        require(parser.filename().find_first_of("/\\") == std::string::npos, "a filename is no path");
        out += "<" + parser.name() + "|" + parser.filename() + ">";
      }
      if (step.event == Event::data) out.append(step.data);
      if (step.event == Event::part_end) out += "</>";
      if (step.event == Event::field) {
        require(parser.value().size() <= limits.max_part_size, "a field is within its limit");
        out += "[" + parser.name() + "=" + parser.value() + "]";
      }
      if (step.event == Event::done) out += ".";
    }
    require(used == copy.size(), "the input is used up");
  }
  return out;
}

}  // namespace

void fuzz_multipart(const std::uint8_t* data, std::size_t size) {
  std::string_view body(reinterpret_cast<const char*>(data), size);
  if (size > 1 << 16) return;
  const std::string whole = multipart_events(body, size + 1);
  for (std::size_t piece : {1, 2, 3, 7, 64}) {
    const std::string split = multipart_events(body, piece);
    // What an unfinished delimiter turns out to be may be held back, so an end in the middle says less.
    require(split == whole || whole.starts_with(split) || split.starts_with(whole), "any split: the same events");
  }
  parse_parameters(body);
}

}  // namespace fasterapi::http::fuzz
