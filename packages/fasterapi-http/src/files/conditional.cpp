#include <fasterapi/http/conditional.hpp>

#include <algorithm>
#include <ctime>

namespace fasterapi::http {
namespace {

constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";

bool digits(std::string_view text, std::size_t at, std::size_t count, int& value) noexcept {
  if (at + count > text.size()) return false;
  value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    value = value * 10 + (text[i] - '0');
  }
  return true;
}

bool month_at(std::string_view text, std::size_t at, int& month) noexcept {
  if (at + 3 > text.size()) return false;
  std::size_t found = kMonths.find(text.substr(at, 3));
  if (found == kMonths.npos || found % 3) return false;
  month = static_cast<int>(found / 3);
  return true;
}

bool clock_at(std::string_view text, std::size_t at, std::tm& when) noexcept {  // HH:MM:SS
  return digits(text, at, 2, when.tm_hour) && digits(text, at + 3, 2, when.tm_min) &&
         digits(text, at + 6, 2, when.tm_sec) && text[at + 2] == ':' && text[at + 5] == ':' && when.tm_hour < 24 &&
         when.tm_min < 60 && when.tm_sec <= 60;
}

std::int64_t seconds_of(std::tm& when) noexcept {
  if (when.tm_mday < 1 || when.tm_mday > 31) return kNoDate;
  return ::timegm(&when);
}

void skip_blanks(std::string_view& text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
}
void trim(std::string_view& text) noexcept {
  skip_blanks(text);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
}

/// The next entity tag of a list; false at its end or where it is malformed.
bool next_tag(std::string_view& list, std::string_view& tag) noexcept {
  while (!list.empty() && (list.front() == ' ' || list.front() == '\t' || list.front() == ','))
    list.remove_prefix(1);
  const std::size_t start = list.starts_with("W/") ? 2 : 0;
  if (start >= list.size() || list[start] != '"') return false;
  const std::size_t end = list.find('"', start + 1);
  if (end == list.npos) return false;
  tag = list.substr(0, end + 1);
  list.remove_prefix(end + 1);
  skip_blanks(list);
  return list.empty() || list.front() == ',';
}

std::string_view opaque(std::string_view tag) noexcept { return tag.starts_with("W/") ? tag.substr(2) : tag; }

/// Whether any of the field's lines lists the tag; `present` says whether there is such a line.
bool listed(const RequestHead& head, std::string_view name, std::string_view tag, bool weak,
            bool& present) noexcept {
  present = false;
  bool found = false;
  for (unsigned i = head.find_index(name); i < head.field_count; i = head.find_index(name, i + 1)) {
    present = true;
    found = found || entity_tag_listed(head.value(i), tag, weak);
  }
  return found;
}

/// A position: digits only. What is beyond 2^63 is as good as the end.
bool position(std::string_view text, std::uint64_t& value) noexcept {
  if (text.empty()) return false;
  value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    if (value < std::uint64_t{1} << 59)
      value = value * 10 + static_cast<std::uint64_t>(c - '0');
    else
      value = INT64_MAX;
  }
  return true;
}

}  // namespace

std::int64_t parse_http_date(std::string_view text) noexcept {
  std::tm when{};
  int year = 0;
  if (text.size() == 29 && text[3] == ',') {  // Sun, 06 Nov 1994 08:49:37 GMT
    if (!digits(text, 5, 2, when.tm_mday) || !month_at(text, 8, when.tm_mon) || !digits(text, 12, 4, year) ||
        !clock_at(text, 17, when) || text.substr(25) != " GMT" || text[4] != ' ' || text[7] != ' ' ||
        text[11] != ' ' || text[16] != ' ')
      return kNoDate;
    when.tm_year = year - 1900;
    return seconds_of(when);
  }
  if (text.size() == 24 && text[3] == ' ') {  // Sun Nov  6 08:49:37 1994
    std::string_view day = text.substr(8, 2);
    if (day[0] == ' ' ? !digits(text, 9, 1, when.tm_mday) : !digits(text, 8, 2, when.tm_mday)) return kNoDate;
    if (!month_at(text, 4, when.tm_mon) || !clock_at(text, 11, when) || !digits(text, 20, 4, year) ||
        text[7] != ' ' || text[10] != ' ' || text[19] != ' ')
      return kNoDate;
    when.tm_year = year - 1900;
    return seconds_of(when);
  }
  const std::size_t comma = text.find(", ");  // Sunday, 06-Nov-94 08:49:37 GMT
  if (comma == text.npos || comma < 6 || comma > 9 || text.size() != comma + 24) return kNoDate;
  text.remove_prefix(comma + 2);
  if (!digits(text, 0, 2, when.tm_mday) || text[2] != '-' || !month_at(text, 3, when.tm_mon) || text[6] != '-' ||
      !digits(text, 7, 2, year) || text[9] != ' ' || !clock_at(text, 10, when) || text.substr(18) != " GMT")
    return kNoDate;
  // RFC 9110 section 5.6.7: what would be more than 50 years in the future is in the past.
  std::time_t now = std::time(nullptr);
  std::tm today{};
  ::gmtime_r(&now, &today);
  const int century = (today.tm_year + 1900) / 100 * 100;
  year += century;
  if (year > today.tm_year + 1900 + 50) year -= 100;
  when.tm_year = year - 1900;
  return seconds_of(when);
}

bool entity_tag_listed(std::string_view list, std::string_view tag, bool weak) noexcept {
  trim(list);
  if (list == "*") return true;
  if (!weak && tag.starts_with("W/")) return false;  // strong comparison: never equal
  std::string_view one;
  bool more = !tag.empty();
  while (more) {
    more = next_tag(list, one);
    if (!more && one.empty()) return false;
    if (weak ? opaque(one) == opaque(tag) : one == tag) return true;
    one = {};
  }
  return false;
}

Condition evaluate_conditions(const RequestHead& head, const Validators& is) noexcept {
  const bool reads = head.method == Method::get || head.method == Method::head;
  bool present = false;
  bool match = listed(head, "if-match", is.entity_tag, false, present);
  if (present) {
    if (!match) return Condition::failed;
  } else if (std::string_view date = head.find("if-unmodified-since");
             date.data() && is.last_modified != kNoDate) {
    std::int64_t since = parse_http_date(date);
    if (since != kNoDate && is.last_modified > since) return Condition::failed;
  }
  match = listed(head, "if-none-match", is.entity_tag, true, present);
  if (present) {
    if (match) return reads ? Condition::not_modified : Condition::failed;
  } else if (std::string_view date = head.find("if-modified-since");
             reads && date.data() && is.last_modified != kNoDate) {
    std::int64_t since = parse_http_date(date);
    if (since != kNoDate && is.last_modified <= since) return Condition::not_modified;
  }
  return Condition::proceed;
}

bool range_applies(const RequestHead& head, const Validators& is) noexcept {
  const unsigned first = head.find_index("range");
  // Several lines: Range is no list field, so which of them counts is anybody's guess. None does.
  if (first >= head.field_count || head.find_index("range", first + 1) < head.field_count) return false;
  std::string_view condition = head.find("if-range");
  if (!condition.data()) return true;
  trim(condition);
  if (condition.ends_with('"'))  // strong comparison: what is weak never matches (section 13.1.5)
    return !condition.starts_with("W/") && condition == is.entity_tag;
  const std::int64_t date = parse_http_date(condition);
  return date != kNoDate && date == is.last_modified;
}

RangeResult parse_ranges(std::string_view field, std::uint64_t size, std::size_t max_ranges,
                         std::vector<ByteRange>& out) {
  out.clear();
  const std::size_t equals = field.find('=');
  if (equals == field.npos) return RangeResult::malformed;
  std::string_view unit = field.substr(0, equals);
  trim(unit);
  if (!equals_lower(unit, "bytes")) return RangeResult::ignored;
  std::string_view rest = field.substr(equals + 1);
  std::size_t count = 0, requested = 0;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    std::string_view one = rest.substr(0, comma);
    rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
    trim(one);
    if (++count > max_ranges) return out.clear(), RangeResult::ignored;
    if (one.empty()) continue;  // lists may have empty elements (section 5.6.1)
    const std::size_t dash = one.find('-');
    if (dash == one.npos) return out.clear(), RangeResult::malformed;
    std::string_view left = one.substr(0, dash), right = one.substr(dash + 1);
    std::uint64_t first = 0, last = 0;
    ++requested;
    if (left.empty()) {  // the last bytes
      if (!position(right, last)) return out.clear(), RangeResult::malformed;
      if (last == 0 || size == 0) continue;
      out.push_back({last >= size ? 0 : size - last, size});
      continue;
    }
    if (!position(left, first)) return out.clear(), RangeResult::malformed;
    if (right.empty())
      last = INT64_MAX;
    else if (!position(right, last) || last < first)
      return out.clear(), RangeResult::malformed;
    if (first >= size) continue;
    out.push_back({first, last >= size ? size : last + 1});
  }
  if (requested == 0) return RangeResult::malformed;
  if (out.empty()) return RangeResult::unsatisfiable;
  // Section 14.2 suggests to join what overlaps: otherwise a short request asks for many times the file.
  std::sort(out.begin(), out.end(), [](const ByteRange& a, const ByteRange& b) { return a.first < b.first; });
  std::size_t kept = 0;
  for (const ByteRange& range : out) {
    if (kept && range.first <= out[kept - 1].end)
      out[kept - 1].end = std::max(out[kept - 1].end, range.end);
    else
      out[kept++] = range;
  }
  out.resize(kept);
  return RangeResult::satisfiable;
}

}  // namespace fasterapi::http
