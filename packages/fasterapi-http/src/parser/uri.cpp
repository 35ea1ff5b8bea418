#include <fasterapi/http/uri.hpp>

#include <cstring>

namespace fasterapi::http {

namespace {

int hex_value(unsigned char c) noexcept {
  if (c - unsigned{'0'} < 10) return c - '0';
  c |= 0x20;
  if (c - unsigned{'a'} < 6) return c - 'a' + 10;
  return -1;
}

template <bool kForm>
std::size_t decode(std::string_view text, char* out) noexcept {
  const char* p = text.data();
  const char* end = p + text.size();
  char* to = out;
  while (p < end) {
    char c = *p++;
    if (c == '%' && end - p >= 2) {
      int high = hex_value(static_cast<unsigned char>(p[0])), low = hex_value(static_cast<unsigned char>(p[1]));
      if ((high | low) >= 0) {
        c = static_cast<char>(high << 4 | low);
        p += 2;
      }
    } else if (kForm && c == '+') {
      c = ' ';
    }
    *to++ = c;
  }
  return static_cast<std::size_t>(to - out);
}

}  // namespace

std::size_t percent_decode(std::string_view text, char* out) noexcept { return decode<false>(text, out); }
std::size_t form_decode(std::string_view text, char* out) noexcept { return decode<true>(text, out); }

std::string percent_decoded(std::string_view text) {
  std::string out(text.size(), '\0');
  out.resize(percent_decode(text, out.data()));
  return out;
}

std::string form_decoded(std::string_view text) {
  std::string out(text.size(), '\0');
  out.resize(form_decode(text, out.data()));
  return out;
}

bool QueryReader::next(QueryPair& pair) noexcept {
  while (at_ < end_) {
    const char* begin = at_;
    const char* equal = nullptr;
    bool encoded = false;
    for (; at_ < end_ && *at_ != '&'; ++at_) {
      char c = *at_;
      encoded |= c == '%' || c == '+';
      if (c == '=' && !equal) equal = at_;
    }
    const char* stop = at_;
    if (at_ < end_) ++at_;
    if (stop == begin) continue;
    const char* name_end = equal ? equal : stop;
    const char* value = equal ? equal + 1 : stop;
    pair = {{begin, static_cast<std::size_t>(name_end - begin)},
            {value, static_cast<std::size_t>(stop - value)},
            encoded};
    return true;
  }
  return false;
}

bool form_equals(std::string_view encoded, std::string_view plain) noexcept {
  std::size_t at = 0;
  const char* p = encoded.data();
  const char* end = p + encoded.size();
  while (p < end) {
    char c = *p++;
    if (c == '%' && end - p >= 2) {
      int high = hex_value(static_cast<unsigned char>(p[0])), low = hex_value(static_cast<unsigned char>(p[1]));
      if ((high | low) >= 0) {
        c = static_cast<char>(high << 4 | low);
        p += 2;
      }
    } else if (c == '+') {
      c = ' ';
    }
    if (at >= plain.size() || plain[at++] != c) return false;
  }
  return at == plain.size();
}

}  // namespace fasterapi::http
