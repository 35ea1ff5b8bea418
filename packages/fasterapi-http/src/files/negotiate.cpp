#include <fasterapi/http/negotiate.hpp>

#include <algorithm>

namespace fasterapi::http {
namespace {

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// A qvalue of RFC 9110 section 12.4.2 in thousandths; 0 for what is none: refused is the safe reading.
std::uint16_t quality(std::string_view text) noexcept {
  if (text.empty() || (text[0] != '0' && text[0] != '1') || text.size() > 5) return 0;
  unsigned value = text[0] == '1' ? 1000 : 0, digit = 100;
  if (text.size() > 1 && text[1] != '.') return 0;
  for (std::size_t i = 2; i < text.size(); ++i, digit /= 10) {
    if (text[i] < '0' || text[i] > '9') return 0;
    value += static_cast<unsigned>(text[i] - '0') * digit;
  }
  return value > 1000 ? 0 : static_cast<std::uint16_t>(value);
}

}  // namespace

std::string_view coding_name(Coding coding) noexcept {
  static constexpr std::string_view kNames[kCodings] = {"identity", "gzip", "br", "zstd"};
  return kNames[static_cast<unsigned>(coding)];
}

AcceptedCodings parse_accept_encoding(const RequestHead& head) noexcept {
  AcceptedCodings accepted;
  bool named[kCodings] = {};
  int any = -1;
  for (unsigned i = head.find_index("accept-encoding"); i < head.field_count;
       i = head.find_index("accept-encoding", i + 1)) {
    std::string_view rest = head.value(i);
    while (!rest.empty()) {
      const std::size_t comma = rest.find(',');
      std::string_view one = rest.substr(0, comma);
      rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
      const std::size_t semicolon = one.find(';');
      std::string_view name = trimmed(one.substr(0, semicolon));
      std::uint16_t weight = 1000;
      if (semicolon != one.npos) {
        std::string_view parameter = trimmed(one.substr(semicolon + 1));
        const bool is_q = parameter.size() > 2 && (parameter[0] | 0x20) == 'q' && parameter[1] == '=';
        weight = is_q ? quality(parameter.substr(2)) : 0;
      }
      if (name == "*") any = weight;
      for (unsigned coding = 0; coding < kCodings; ++coding) {
        const bool alias = coding == static_cast<unsigned>(Coding::gzip) && equals_lower(name, "x-gzip");
        if (!alias && !equals_lower(name, coding_name(static_cast<Coding>(coding)))) continue;
        accepted.weight[coding] = weight;
        named[coding] = true;
      }
    }
  }
  // Identity is taken unless it is refused, but what is asked for by name is preferred to what is not mentioned.
  for (unsigned coding = 0; coding < kCodings; ++coding)
    if (!named[coding] && any >= 0) accepted.weight[coding] = static_cast<std::uint16_t>(any);
  if (!named[0] && any < 0) {
    std::uint16_t lowest = 1000;
    for (unsigned coding = 1; coding < kCodings; ++coding)
      if (accepted.weight[coding]) lowest = std::min(lowest, accepted.weight[coding]);
    accepted.weight[0] = lowest;
  }
  return accepted;
}

}  // namespace fasterapi::http
