#include "router/pattern.hpp"

#include <algorithm>
#include <cstring>

namespace fasterapi::http {

namespace {
bool digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool hex(char c) noexcept { return digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f'); }

/// Bytes of the UUID that `text` begins with, 0 if none: 8-4-4-4-12 hex digits, each dash optional.
std::size_t uuid_prefix(std::string_view text) noexcept {
  std::size_t at = 0;
  for (unsigned group : {8u, 4u, 4u, 4u, 12u}) {
    if (group != 8 && at < text.size() && text[at] == '-') ++at;
    for (unsigned i = 0; i < group; ++i, ++at)
      if (at >= text.size() || !hex(text[at])) return 0;
  }
  return at;
}
}  // namespace

bool converter_accepts(Converter converter, std::string_view text) noexcept {
  switch (converter) {
    case Converter::path: return true;
    case Converter::str: return !text.empty();
    case Converter::integer: return !text.empty() && std::all_of(text.begin(), text.end(), digit);
    case Converter::real: {
      std::size_t dot = text.find('.');
      if (dot == std::string_view::npos) return converter_accepts(Converter::integer, text);
      return converter_accepts(Converter::integer, text.substr(0, dot)) &&
             converter_accepts(Converter::integer, text.substr(dot + 1));
    }
    case Converter::uuid: return !text.empty() && uuid_prefix(text) == text.size();
  }
  return false;
}

namespace router {

namespace {

bool identifier(std::string_view name) noexcept {
  auto letter = [](char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; };
  if (name.empty() || !(letter(name[0]) || name[0] == '_')) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || digit(c) || c == '_'; });
}

bool converter_from(std::string_view name, Converter& out) noexcept {
  static constexpr std::pair<std::string_view, Converter> kNames[] = {{"str", Converter::str},
                                                                      {"int", Converter::integer},
                                                                      {"float", Converter::real},
                                                                      {"uuid", Converter::uuid},
                                                                      {"path", Converter::path}};
  for (auto& [known, converter] : kNames)
    if (known == name) return out = converter, true;
  return false;
}

}  // namespace

std::string parse_pattern(std::string_view source, Pattern& out) {
  out = Pattern();
  out.source = source;
  auto error = [&](const std::string& what) {
    return std::string("route '").append(source).append("': ").append(what);
  };
  if (source.empty() || source[0] != '/') return error("a path starts with '/'");
  if (source.find(kEncodedSlash) != source.npos) return error("a path holds a control character");
  std::size_t at = 1;
  bool in_tail = false;
  for (;;) {
    std::vector<Piece> pieces;
    bool has_path = false;
    while (at < source.size() && source[at] != '/') {
      if (source[at] == '}') return error("'}' without '{'");
      if (source[at] != '{') {
        std::size_t end = std::min(source.find_first_of("{}/", at), source.size());
        pieces.push_back({std::string(source.substr(at, end - at))});
        at = end;
        continue;
      }
      std::size_t close = source.find('}', at);
      if (close == source.npos) return error("'{' without '}'");
      std::string_view inside = source.substr(at + 1, close - at - 1);
      std::size_t colon = inside.find(':');
      std::string_view name = inside.substr(0, colon);
      Converter converter = Converter::str;
      if (!identifier(name)) return error("'" + std::string(name) + "' is not a parameter name");
      if (colon != inside.npos && !converter_from(inside.substr(colon + 1), converter))
        return error("unknown converter '" + std::string(inside.substr(colon + 1)) + "'");
      for (const RouteParam& known : out.params)
        if (known.name == name) return error("parameter '" + std::string(name) + "' appears twice");
      if (out.params.size() == kMaxCaptures) return error("more than 16 parameters");
      out.params.push_back({std::string(name), converter});
      pieces.push_back({{}, true, converter});
      has_path |= converter == Converter::path;
      at = close + 1;
    }
    in_tail |= has_path;
    bool last = at >= source.size();
    if (in_tail) {
      out.tail.insert(out.tail.end(), pieces.begin(), pieces.end());
      if (!last) out.tail.push_back({"/"});
    } else {
      Segment segment;
      if (pieces.size() == 1 && pieces[0].is_param) {
        segment.kind = Segment::Kind::param;
        segment.converter = pieces[0].converter;
      } else if (pieces.size() > 1) {
        segment.kind = Segment::Kind::mixed;
        segment.pieces = std::move(pieces);
      } else if (pieces.size() == 1) {
        segment.text = pieces[0].text;
      }
      out.segments.push_back(std::move(segment));
    }
    if (last) break;
    ++at;
  }
  // Neighbouring literals become one.
  std::vector<Piece> joined;
  for (Piece& piece : out.tail) {
    if (!piece.is_param && !joined.empty() && !joined.back().is_param)
      joined.back().text += piece.text;
    else
      joined.push_back(std::move(piece));
  }
  out.tail = std::move(joined);
  if (out.segments.size() > kMaxSegments) return error("more than 24 segments");
  if (out.tail.size() > kMaxPieces) return error("too many pieces");
  return {};
}

namespace {

/// Bits of the positions from which the rest of the pieces matches.
class Positions {
 public:
  void clear(std::size_t size) noexcept { std::memset(words_, 0, (size / 64 + 1) * 8); }
  void set(std::size_t i) noexcept { words_[i / 64] |= 1ull << (i % 64); }
  bool has(std::size_t i) const noexcept { return words_[i / 64] >> (i % 64) & 1; }

 private:
  std::uint64_t words_[kMaxPieceText / 64 + 1];
};

constexpr std::size_t kMaxRealDigits = 64;  // per side of the point, where text and parameters share a segment

/// Possible ends of a parameter that begins at `at`, as one or two closed ranges.
struct Ends {
  std::size_t from = 1, to = 0, from2 = 1, to2 = 0;
};
Ends ends_of(Converter converter, std::string_view text, std::size_t at, std::size_t run_end) noexcept {
  switch (converter) {
    case Converter::path: return {at, text.size()};
    case Converter::uuid:
      if (std::size_t n = uuid_prefix(text.substr(at))) return {at + n, at + n};
      return {};
    case Converter::real: {
      std::size_t d = at;
      while (d < text.size() && digit(text[d]) && d - at < kMaxRealDigits) ++d;
      if (d == at) return {};
      std::size_t d2 = d + 1;
      if (d < text.size() && text[d] == '.')
        while (d2 < text.size() && digit(text[d2]) && d2 - d <= kMaxRealDigits) ++d2;
      return {at + 1, d, d + 2, d2};
    }
    default: return {at + 1, run_end};
  }
}
bool in_run(Converter converter, char c) noexcept { return converter == Converter::integer ? digit(c) : c != '/'; }

}  // namespace

bool match_pieces(const std::vector<Piece>& pieces, std::string_view text, Span* spans) noexcept {
  const std::size_t size = text.size();
  if (size > kMaxPieceText) return false;
  // The common shapes need no table: text + one parameter + text.
  unsigned params = 0;
  for (const Piece& piece : pieces) params += piece.is_param;
  if (params == 1) {
    std::size_t from = 0, to = size;
    const Piece* param = nullptr;
    for (const Piece& piece : pieces) {
      if (piece.is_param)
        param = &piece;
      else if (!param) {
        if (text.substr(0, piece.text.size()) != piece.text) return false;
        from = piece.text.size();
      } else {
        if (to - from < piece.text.size() || text.substr(size - piece.text.size()) != piece.text) return false;
        to -= piece.text.size();
      }
    }
    std::string_view value = text.substr(from, to - from);
    if (param->converter != Converter::path && value.find('/') != value.npos) return false;
    if (!converter_accepts(param->converter, value)) return false;
    spans[0] = {static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(to - from)};
    return true;
  }
  // Backwards: from which positions can pieces i, i+1, ... match? Then forwards, each parameter as long as it may
  // be.
  static thread_local Positions good[kMaxPieces + 1];
  const std::size_t count = pieces.size();
  good[count].clear(size);
  good[count].set(size);
  for (std::size_t i = count; i-- > 0;) {
    const Piece& piece = pieces[i];
    const Positions& next = good[i + 1];
    Positions& here = good[i];
    here.clear(size);
    constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    std::size_t nearest = kNone, run_end = size;  // nearest good position at or after the cursor + 1
    for (std::size_t at = size + 1; at-- > 0;) {
      if (!piece.is_param) {
        if (size - at >= piece.text.size() && next.has(at + piece.text.size()) &&
            text.compare(at, piece.text.size(), piece.text) == 0)
          here.set(at);
        continue;
      }
      if (piece.converter == Converter::path) {
        if (next.has(at)) nearest = at;
        if (nearest != kNone) here.set(at);
        continue;
      }
      if (at < size) {
        if (next.has(at + 1)) nearest = at + 1;
        if (!in_run(piece.converter, text[at])) {
          run_end = at;
          continue;
        }
        if (piece.converter == Converter::str || piece.converter == Converter::integer) {
          if (nearest <= run_end && nearest != kNone) here.set(at);
          continue;
        }
        Ends ends = ends_of(piece.converter, text, at, run_end);
        for (std::size_t e = ends.from; e <= ends.to; ++e)
          if (next.has(e)) here.set(at);
        for (std::size_t e = ends.from2; e <= ends.to2; ++e)
          if (next.has(e)) here.set(at);
      }
    }
  }
  if (!good[0].has(0)) return false;
  std::size_t at = 0, param = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Piece& piece = pieces[i];
    if (!piece.is_param) {
      at += piece.text.size();
      continue;
    }
    std::size_t run_end = at;
    if (piece.converter != Converter::path)
      while (run_end < size && in_run(piece.converter, text[run_end])) ++run_end;
    Ends ends = ends_of(piece.converter, text, at, run_end);
    std::size_t end = static_cast<std::size_t>(-1);
    for (std::size_t e = ends.to2; e + 1 > ends.from2 && end > size; --e)
      if (good[i + 1].has(e)) end = e;
    for (std::size_t e = ends.to; e + 1 > ends.from && end > size; --e)
      if (good[i + 1].has(e)) end = e;
    spans[param++] = {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end - at)};
    at = end;
  }
  return true;
}

}  // namespace router
}  // namespace fasterapi::http
