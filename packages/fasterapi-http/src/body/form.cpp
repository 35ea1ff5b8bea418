#include <fasterapi/http/form.hpp>

#include <algorithm>
#include <utility>

#include <fasterapi/http/uri.hpp>

namespace fasterapi::http {
namespace {

bool blank(char c) noexcept { return c == ' ' || c == '\t'; }

bool token_character(unsigned char c) noexcept {
  if (c <= 0x20 || c >= 0x7f) return false;
  static constexpr std::string_view kSeparators = "()<>@,;:\\\"/[]?={}";
  return kSeparators.find(static_cast<char>(c)) == kSeparators.npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return out;
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else {
      out += static_cast<char>(0xc0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  return out;
}

/// RFC 8187: charset'language'percent-encoded, as UTF-8. False for other charsets, and what is not of that form.
bool extended_value(std::string_view text, std::string& out) {
  const std::size_t first = text.find('\'');
  const std::size_t second = first == text.npos ? text.npos : text.find('\'', first + 1);
  if (second == text.npos) return false;
  const std::string charset = lower(text.substr(0, first));
  std::string decoded = percent_decoded(text.substr(second + 1));
  if (charset == "utf-8" || charset.empty())
    out = std::move(decoded);
  else if (charset == "iso-8859-1")
    out = latin1_to_utf8(decoded);
  else
    return false;
  return true;
}

}  // namespace

const std::string* FieldParameters::find(std::string_view lower_name) const noexcept {
  for (const auto& [name, value] : parameters)
    if (name == lower_name) return &value;
  return nullptr;
}

FieldParameters parse_parameters(std::string_view field) {
  constexpr std::size_t kMaxParameters = 32;
  FieldParameters out;
  const std::size_t semicolon = field.find(';');
  out.value = lower(trimmed(field.substr(0, semicolon)));
  std::size_t at = semicolon == field.npos ? field.size() : semicolon;
  while (at < field.size() && out.parameters.size() < kMaxParameters) {
    ++at;  // the semicolon
    while (at < field.size() && blank(field[at])) ++at;
    const std::size_t start = at;
    while (at < field.size() && token_character(static_cast<unsigned char>(field[at]))) ++at;
    std::string name = lower(field.substr(start, at - start));
    while (at < field.size() && blank(field[at])) ++at;
    if (at >= field.size() || field[at] != '=' || name.empty()) {  // no parameter: on to the next one
      at = std::min(field.find(';', at), field.size());
      continue;
    }
    ++at;
    while (at < field.size() && blank(field[at])) ++at;
    std::string value;
    bool whole = true;
    if (at < field.size() && field[at] == '"') {
      whole = false;
      for (++at; at < field.size(); ++at) {
        if (field[at] == '"') {
          whole = true;
          ++at;
          break;
        }
        // Browsers escape quotes as %22 and nothing else; a backslash before anything but these two is a
        // character of the name.
        if (field[at] == '\\' && at + 1 < field.size() && (field[at + 1] == '"' || field[at + 1] == '\\')) ++at;
        value += field[at];
      }
      at = std::min(field.find(';', at), field.size());
    } else {
      const std::size_t end = std::min(field.find(';', at), field.size());
      value = trimmed(field.substr(at, end - at));
      at = end;
    }
    if (!whole) break;
    if (name.size() > 1 && name.back() == '*') {
      std::string decoded;
      if (!extended_value(value, decoded)) continue;
      name.pop_back();
      std::erase_if(out.parameters, [&](const auto& one) { return one.first == name; });
      out.parameters.emplace(out.parameters.begin(), std::move(name), std::move(decoded));
      continue;
    }
    if (!out.find(name)) out.parameters.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

std::string_view base_name(std::string_view filename) noexcept {
  const std::size_t slash = filename.find_last_of("/\\");
  return slash == filename.npos ? filename : filename.substr(slash + 1);
}

// ---------------------------------------------------------------- urlencoded

bool UrlencodedParser::add(std::string_view pair, std::vector<std::pair<std::string, std::string>>& out) {
  if (pair.empty()) return true;
  if (pair.size() > limits_.max_part_size) {
    error_ = "Field exceeded maximum size of " + std::to_string(limits_.max_part_size / 1024) + "KB.";
    return false;
  }
  if (++fields_ > limits_.max_fields) {
    error_ = "Too many fields. Maximum number of fields is " + std::to_string(limits_.max_fields) + ".";
    return false;
  }
  const std::size_t equals = pair.find('=');
  out.emplace_back(form_decoded(pair.substr(0, equals)),
                   equals == pair.npos ? std::string() : form_decoded(pair.substr(equals + 1)));
  return true;
}

bool UrlencodedParser::feed(std::string_view input, std::vector<std::pair<std::string, std::string>>& out) {
  if (!error_.empty()) return false;
  for (;;) {
    const std::size_t end = input.find('&');
    if (rest_.size() + std::min(end, input.size()) > limits_.max_part_size) {
      error_ = "Field exceeded maximum size of " + std::to_string(limits_.max_part_size / 1024) + "KB.";
      return false;
    }
    if (end == input.npos) {
      rest_.append(input);
      return true;
    }
    if (rest_.empty()) {
      if (!add(input.substr(0, end), out)) return false;
    } else {
      rest_.append(input.substr(0, end));
      if (!add(rest_, out)) return false;
      rest_.clear();
    }
    input.remove_prefix(end + 1);
  }
}

bool UrlencodedParser::finish(std::vector<std::pair<std::string, std::string>>& out) {
  if (!error_.empty()) return false;
  return add(std::exchange(rest_, {}), out);
}

}  // namespace fasterapi::http
