// RouteTable: building the frozen form, and the cold sides of matching (encoded paths, 405, trailing slashes).
#include <fasterapi/http/router.hpp>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/uri.hpp>

#include "router/table.hpp"

namespace fasterapi::http {

using namespace router;

struct RouteTable::Impl {
  struct Route {
    Pattern pattern;
    MethodSet methods;
    std::uint32_t id;
  };
  RouteOrder order;
  bool head_falls_to_get;
  bool frozen = false;
  std::vector<std::string> custom;  // names of the bits from kMethodCount on
  std::deque<Route> routes;
  const MatchTier* tier = &best_match_tier();

  // What `table` points into.
  Frozen table;
  std::string texts;
  std::deque<Group> groups;
  std::deque<std::vector<Position>> positions;
  std::deque<std::vector<std::uint64_t>> words;  // slots and sets
  std::deque<std::vector<const Record*>> record_lists;
  std::deque<Record> records;

  void build();
  void build_group(unsigned method, unsigned count, const std::vector<std::uint32_t>& members,
                   const std::vector<const Record*>& by_route);
  bool find(unsigned method, std::string_view path, Match& out) const noexcept;
  bool find_encoded(unsigned method, std::string_view path, Match& out) const noexcept;
  bool prefers(std::uint32_t a, std::uint32_t b) const noexcept;
};

namespace {

/// How specific a segment is; smaller is preferred.
int rank(Segment const& segment) noexcept {
  switch (segment.kind) {
    case Segment::Kind::text: return 0;
    case Segment::Kind::mixed: {
      int letters = 0;
      for (const Piece& piece : segment.pieces) letters += static_cast<int>(piece.text.size());
      return 1000 - std::min(letters, 900);
    }
    default:
      switch (segment.converter) {
        case Converter::integer: return 2000;
        case Converter::uuid: return 2001;
        case Converter::real: return 2002;
        default: return 3000;
      }
  }
}
constexpr int kTailRank = 4000;

int rank_at(const Pattern& pattern, std::size_t i) noexcept {
  if (i < pattern.segments.size()) return rank(pattern.segments[i]);
  if (!pattern.has_tail()) return -1;
  int letters = 0;
  for (const Piece& piece : pattern.tail) letters += static_cast<int>(piece.text.size());
  return kTailRank - std::min(letters, 900);
}

/// Two patterns with one key take the same paths.
std::string shape(const Pattern& pattern) {
  std::string key;
  auto add = [&](const Piece& piece) {
    if (piece.is_param)
      key += std::string("\x02") + static_cast<char>('0' + static_cast<int>(piece.converter));
    else
      key += piece.text;
  };
  for (const Segment& segment : pattern.segments) {
    key += '/';
    if (segment.kind == Segment::Kind::param)
      add({{}, true, segment.converter});
    else if (segment.kind == Segment::Kind::text)
      key += segment.text;
    else
      for (const Piece& piece : segment.pieces) add(piece);
  }
  if (pattern.has_tail()) key += '/';
  for (const Piece& piece : pattern.tail) add(piece);
  return key;
}

void load_text(std::string_view text, std::uint64_t& first, std::uint64_t& last) {
  first = last = 0;
  std::memcpy(&first, text.data(), std::min<std::size_t>(8, text.size()));
  if (text.size() > 8) std::memcpy(&last, text.data() + text.size() - 8, 8);
}

}  // namespace

RouteTable::RouteTable(RouteOrder order, bool head_falls_to_get) : impl_(std::make_unique<Impl>()) {
  impl_->order = order;
  impl_->head_falls_to_get = head_falls_to_get;
}
RouteTable::RouteTable(RouteTable&&) noexcept = default;
RouteTable& RouteTable::operator=(RouteTable&&) noexcept = default;
RouteTable::~RouteTable() = default;

MethodSet RouteTable::method_set(std::span<const std::string_view> names) {
  MethodSet set = 0;
  for (std::string_view name : names) {
    MethodSet bit = this->bit(method_from(name), name);
    if (!bit) {
      if (kMethodCount + impl_->custom.size() >= kMethods || name.empty()) return 0;
      bit = MethodSet{1} << (kMethodCount + impl_->custom.size());
      impl_->custom.emplace_back(name);
    }
    set |= bit;
  }
  return set;
}

MethodSet RouteTable::custom_bit(std::string_view text) const noexcept {
  for (std::size_t i = 0; i < impl_->custom.size(); ++i)
    if (impl_->custom[i] == text) return MethodSet{1} << (kMethodCount + i);
  return 0;
}

std::string RouteTable::method_names(MethodSet set) const {
  std::string out;
  for (unsigned i = 1; i < kMethods; ++i) {
    if (!(set >> i & 1)) continue;
    if (i >= kMethodCount && i - kMethodCount >= impl_->custom.size()) break;
    if (!out.empty()) out += ", ";
    if (i < kMethodCount)
      out += method_name(static_cast<Method>(i));
    else
      out += impl_->custom[i - kMethodCount];
  }
  return out;
}

RouteError RouteTable::insert(MethodSet methods, std::string_view pattern, std::uint32_t id) {
  auto position = static_cast<std::uint32_t>(impl_->routes.size());
  if (impl_->frozen) return {"the route table is frozen", position};
  if (!(methods & ~MethodSet{1})) return {"route '" + std::string(pattern) + "': no methods", position};
  Pattern parsed;
  if (std::string error = parse_pattern(pattern, parsed); !error.empty()) return {error, position};
  impl_->routes.push_back({std::move(parsed), methods & ~MethodSet{1}, id});
  return {};
}

RouteError RouteTable::freeze() {
  if (impl_->frozen) return {};
  if (impl_->order == RouteOrder::specificity) {
    std::multimap<std::string, std::uint32_t> seen;
    for (std::uint32_t i = 0; i < impl_->routes.size(); ++i) {
      const auto& route = impl_->routes[i];
      std::string key = shape(route.pattern);
      auto [from, to] = seen.equal_range(key);
      for (; from != to; ++from) {
        const auto& other = impl_->routes[from->second];
        if (other.methods & route.methods)
          return {"routes '" + other.pattern.source + "' and '" + route.pattern.source +
                      "' take the same paths for " + method_names(other.methods & route.methods),
                  i, from->second, true};
      }
      seen.emplace(std::move(key), i);
    }
  }
  impl_->build();
  impl_->frozen = true;
  return {};
}

bool RouteTable::frozen() const noexcept { return impl_->frozen; }
std::size_t RouteTable::size() const noexcept { return impl_->routes.size(); }
std::span<const RouteParam> RouteTable::params(std::uint32_t route) const noexcept {
  return impl_->routes[route].pattern.params;
}
std::string_view RouteTable::pattern(std::uint32_t route) const noexcept {
  return impl_->routes[route].pattern.source;
}
MethodSet RouteTable::methods(std::uint32_t route) const noexcept { return impl_->routes[route].methods; }

bool RouteTable::Impl::prefers(std::uint32_t a, std::uint32_t b) const noexcept {
  if (order == RouteOrder::registration) return a < b;
  const Pattern& x = routes[a].pattern;
  const Pattern& y = routes[b].pattern;
  for (std::size_t i = 0; i <= kMaxSegments; ++i) {
    int rx = rank_at(x, i), ry = rank_at(y, i);
    if (rx != ry) return rx < ry;
    if (rx == -1 || i >= x.segments.size()) break;
  }
  return a < b;
}

void RouteTable::Impl::build() {
  table.head_falls_to_get = head_falls_to_get;
  std::vector<const Record*> by_route;
  for (std::uint32_t i = 0; i < routes.size(); ++i) {
    const Route& route = routes[i];
    Record record{};
    record.route = i;
    record.id = route.id;
    record.pattern = &route.pattern;
    record.capture_count = static_cast<std::uint8_t>(route.pattern.params.size());
    record.complex = route.pattern.has_tail();
    unsigned capture = 0;
    for (std::size_t s = 0; s < route.pattern.segments.size(); ++s) {
      const Segment& segment = route.pattern.segments[s];
      record.complex |= segment.kind == Segment::Kind::mixed;
      if (segment.kind == Segment::Kind::param)
        record.captures[capture++] = {static_cast<std::uint8_t>(s), segment.converter};
      if (segment.kind == Segment::Kind::text && segment.text.size() > 16 &&
          texts.find(segment.text) == texts.npos)
        texts += segment.text;
    }
    table.used |= route.methods;
    records.push_back(record);
    by_route.push_back(&records.back());
  }
  table.texts = texts.data();
  std::vector<std::uint32_t> sorted(routes.size());
  for (std::uint32_t i = 0; i < routes.size(); ++i) sorted[i] = i;
  std::stable_sort(sorted.begin(), sorted.end(), [&](auto a, auto b) { return prefers(a, b); });
  for (unsigned method = 1; method < kMethods; ++method) {
    if (!(table.used >> method & 1)) continue;
    for (unsigned count = 1; count <= kMaxSegments + 1; ++count) {
      std::vector<std::uint32_t> members;
      for (std::uint32_t i : sorted) {
        const Route& route = routes[i];
        std::size_t fixed = route.pattern.segments.size();
        if (!(route.methods >> method & 1)) continue;
        if (route.pattern.has_tail() ? count > fixed : count == fixed) members.push_back(i);
      }
      if (!members.empty()) build_group(method, count, members, by_route);
    }
  }
}

void RouteTable::Impl::build_group(unsigned method, unsigned count, const std::vector<std::uint32_t>& members,
                                   const std::vector<const Record*>& by_route) {
  const auto width = static_cast<unsigned>((members.size() + 63) / 64);
  const unsigned position_count = std::min(count, kMaxSegments);
  auto& list = record_lists.emplace_back();
  auto& check = words.emplace_back(width, 0);
  for (std::size_t k = 0; k < members.size(); ++k) {
    const Record* record = by_route[members[k]];
    list.push_back(record);
    bool typed = std::any_of(record->captures, record->captures + record->capture_count,
                             [](auto& c) { return c.converter != Converter::str; });
    if (record->complex || typed) check[k / 64] |= 1ull << (k % 64);
  }
  auto& places = positions.emplace_back(position_count);
  const std::size_t stride = slot_stride(width);
  for (unsigned i = 0; i < position_count; ++i) {
    auto& sets = words.emplace_back(2 * width, 0);
    std::map<std::string_view, std::vector<std::uint64_t>> by_text;
    for (std::size_t k = 0; k < members.size(); ++k) {
      const Pattern& pattern = routes[members[k]].pattern;
      std::uint64_t bit = 1ull << (k % 64);
      if (i >= pattern.segments.size()) {
        sets[width + k / 64] |= bit;
      } else if (pattern.segments[i].kind == Segment::Kind::text) {
        auto& set = by_text[pattern.segments[i].text];
        set.resize(width);
        set[k / 64] |= bit;
      } else {
        sets[k / 64] |= bit;
      }
    }
    // At most half full, and at least one free slot, which ends a search.
    std::size_t slots = 1;
    while (slots < 2 * by_text.size()) slots *= 2;
    if (by_text.size() == 1) slots = 2;
    auto& room = words.emplace_back(slots * stride / 8, 0);
    char* base = reinterpret_cast<char*>(room.data());
    auto at = [&](std::size_t s) { return reinterpret_cast<Slot*>(base + s * stride); };
    for (std::size_t s = 0; s < slots; ++s) at(s)->size = kEmptySlot;
    for (auto& [text, set] : by_text) {
      std::uint64_t first, last;
      load_text(text, first, last);
      auto size = static_cast<std::uint32_t>(text.size());
      std::size_t s = slot_hash(first, last, size) & (slots - 1);
      while (at(s)->size != kEmptySlot) s = (s + 1) & (slots - 1);
      Slot* slot = at(s);
      *slot = {first, last, size, size > 16 ? static_cast<std::uint32_t>(texts.find(text)) : 0};
      auto* bits = reinterpret_cast<std::uint64_t*>(slot + 1);
      std::copy(set.begin(), set.end(), bits);
      if (width > 1)
        bits[width] = static_cast<std::uint64_t>(std::find_if(set.begin(), set.end(), [](auto w) { return w; }) -
                                                 set.begin());
    }
    std::uint32_t low = 0;
    while (low < width && !(sets[low] | sets[width + low])) ++low;
    places[i] = {base, sets.data(), sets[0], sets[width], static_cast<std::uint32_t>(slots - 1), low};
  }
  groups.push_back({places.data(), list.data(), check.data(), width, static_cast<std::uint32_t>(stride)});
  table.groups[method][count] = &groups.back();
}

// --- matching ------------------------------------------------------------------------------------------------

namespace {

/// Offset in `raw` (encoded) of the byte that is `decoded` bytes into its decoded form.
std::uint32_t raw_offset(std::string_view raw, std::uint32_t decoded) noexcept {
  std::size_t at = 0;
  auto hex = [](char c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f'); };
  while (decoded-- && at < raw.size())
    at += raw[at] == '%' && at + 2 < raw.size() && hex(raw[at + 1]) && hex(raw[at + 2]) ? 3 : 1;
  return static_cast<std::uint32_t>(at);
}

}  // namespace

bool router::check_record(const Record& record, const char* path, const Cut& cut, const char* raw,
                          const Cut& raw_cut, Match& out) noexcept {
  const Pattern& pattern = *record.pattern;
  const bool encoded = &cut != &raw_cut;
  unsigned capture = 0;
  auto add = [&](std::uint32_t segment, std::uint32_t at, std::uint32_t size, bool to_end, Converter converter) {
    std::uint32_t end_segment = to_end ? raw_cut.count : segment + 1;
    std::string_view whole(raw + raw_cut.starts[segment],
                           raw_cut.starts[end_segment] - 1 - raw_cut.starts[segment]);
    if (encoded) {
      std::uint32_t from = raw_offset(whole, at);
      size = raw_offset(whole, at + size) - from;
      at = from;
    }
    std::string_view value = whole.substr(at, size);
    out.captures[capture++] = {value.data(), size, converter, encoded && value.find('%') != value.npos};
  };
  Span spans[kMaxCaptures];
  auto pieces = [&](const std::vector<Piece>& list, std::uint32_t segment, bool to_end) {
    std::uint32_t end_segment = to_end ? cut.count : segment + 1;
    std::string_view text(path + cut.starts[segment], cut.starts[end_segment] - 1 - cut.starts[segment]);
    if (!match_pieces(list, text, spans)) return false;
    unsigned n = 0;
    for (const Piece& piece : list) {
      if (!piece.is_param) continue;
      add(segment, spans[n].at, spans[n].size, to_end, piece.converter);
      ++n;
    }
    return true;
  };
  for (std::uint32_t s = 0; s < pattern.segments.size(); ++s) {
    const Segment& segment = pattern.segments[s];
    if (segment.kind == Segment::Kind::text) continue;
    std::uint32_t size = cut.starts[s + 1] - 1 - cut.starts[s];
    if (segment.kind == Segment::Kind::mixed) {
      if (!pieces(segment.pieces, s, false)) return false;
      continue;
    }
    if (!converter_accepts(segment.converter, {path + cut.starts[s], size})) return false;
    add(s, 0, size, false, segment.converter);
  }
  if (pattern.has_tail() && !pieces(pattern.tail, static_cast<std::uint32_t>(pattern.segments.size()), true))
    return false;
  out.kind = Match::Kind::found;
  out.route = record.route;
  out.id = record.id;
  out.capture_count = static_cast<std::uint8_t>(capture);
  return true;
}

/// The path has a '%' (or very many segments): decode each segment, remember encoded slashes as data, match that.
bool RouteTable::Impl::find_encoded(unsigned method, std::string_view path, Match& out) const noexcept {
  static thread_local char decoded[kMaxHeadBytes + 2 * kReadPadding];
  if (path.size() > kMaxHeadBytes) return false;
  Cut raw, plain;
  tier->cut(path.data(), path.size(), raw);
  std::uint32_t at = 1;
  decoded[0] = '/';
  plain.count = raw.count;
  plain.encoded = true;
  for (std::uint32_t s = 0; s < raw.count; ++s) {
    std::string_view segment = path.substr(raw.starts[s], raw.starts[s + 1] - 1 - raw.starts[s]);
    plain.starts[s] = at;
    char* to = decoded + at;
    if (s == kMaxSegments) {  // the rest: its own slashes separate, decoded ones do not
      for (std::size_t from = 0; from <= segment.size();) {
        std::size_t end = std::min(segment.find('/', from), segment.size());
        std::size_t n = percent_decode(segment.substr(from, end - from), to);
        std::replace(to, to + n, '/', kEncodedSlash);
        to += n;
        if (end < segment.size()) *to++ = '/';
        from = end + 1;
      }
      at = static_cast<std::uint32_t>(to - decoded) + 1;
      continue;
    }
    std::size_t n = percent_decode(segment, to);
    std::replace(to, to + n, '/', kEncodedSlash);
    at += static_cast<std::uint32_t>(n);
    decoded[at++] = '/';
  }
  plain.starts[raw.count] = at;
  std::memset(decoded + at, 0, kReadPadding);
  return tier->find(table, method, decoded, plain, path.data(), raw, out);
}

bool RouteTable::Impl::find(unsigned method, std::string_view path, Match& out) const noexcept {
  Cut cut;
  if (tier->match(table, method, path.data(), path.size(), cut, out)) return true;
  return FASTERAPI_UNLIKELY(cut.encoded) && find_encoded(method, path, out);
}

bool RouteTable::match(MethodSet method, std::string_view path, Match& out) const noexcept {
  const Impl& self = *impl_;
  if (FASTERAPI_UNLIKELY(path.empty() || path[0] != '/')) {
    out.kind = Match::Kind::not_found;
    return false;
  }
  if (FASTERAPI_LIKELY(method != 0)) {
    Cut cut;
    const auto index = static_cast<unsigned>(__builtin_ctz(method));
    if (FASTERAPI_LIKELY(self.tier->match(self.table, index, path.data(), path.size(), cut, out))) return true;
    if (FASTERAPI_UNLIKELY(cut.encoded) && self.find_encoded(index, path, out)) return true;
    if (method == method_bit(Method::head) && self.head_falls_to_get &&
        self.find(static_cast<unsigned>(Method::get), path, out))
      return true;
  }
  out.kind = Match::Kind::not_found;
  out.capture_count = 0;
  MethodSet allowed = 0;
  for (unsigned other = 1; other < kMethods; ++other) {
    if (!(self.table.used >> other & 1) || (method >> other & 1)) continue;
    Match ignored;
    if (self.find(other, path, ignored)) allowed |= MethodSet{1} << other;
  }
  if (!allowed) return false;
  if (self.head_falls_to_get && (allowed & method_bit(Method::get))) allowed |= method_bit(Method::head);
  out.kind = Match::Kind::wrong_method;
  out.allowed = allowed;
  return false;
}

bool RouteTable::matches_with_other_slash(std::string_view path) const noexcept {
  static thread_local char other[kMaxHeadBytes + 2 * kReadPadding];
  if (path.size() < 2 || path.size() > kMaxHeadBytes) return false;
  std::size_t size = path.back() == '/' ? path.size() - 1 : path.size() + 1;
  std::memcpy(other, path.data(), path.size());
  if (size > path.size()) other[path.size()] = '/';
  std::memset(other + size, 0, kReadPadding);
  Match out;
  for (unsigned method = 1; method < kMethods; ++method)
    if ((impl_->table.used >> method & 1) && impl_->find(method, {other, size}, out)) return true;
  return false;
}

}  // namespace fasterapi::http
