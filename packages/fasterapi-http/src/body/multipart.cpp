#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fasterapi/http/form.hpp>
#include <fasterapi/http/response_head.hpp>

namespace fasterapi::http {

MultipartParser::MultipartParser(std::string_view boundary, FormLimits limits)
    : delimiter_("\r\n--" + std::string(boundary.substr(0, kMaxBoundary + 1))), limits_(limits) {
  if (boundary.empty() || boundary.size() > kMaxBoundary)
    throw std::invalid_argument("Boundary of the multipart body is empty or longer than 256 characters.");
  for (unsigned char c : boundary)
    if (c < 0x20 || c >= 0x7f)
      throw std::invalid_argument("Boundary of the multipart body has a control character.");
}

MultipartParser::Step MultipartParser::fail(std::string text) {
  state_ = State::failed;
  error_ = std::move(text);
  return {Event::error};
}

bool MultipartParser::header_line(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == line.npos || !valid_field_name(line.substr(0, colon))) return false;
  std::string name(line.substr(0, colon));
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  if (!valid_field_value(value)) return false;
  headers_.emplace_back(std::move(name), value);
  return true;
}

MultipartParser::Step MultipartParser::begin_part(std::size_t consumed) {
  FieldParameters disposition;
  for (const auto& [name, value] : headers_)
    if (name == "content-disposition") disposition = parse_parameters(value);
  const std::string* name = disposition.find("name");
  if (disposition.value != "form-data" || !name)
    return fail("The Content-Disposition header field \"name\" must be provided.");
  name_ = *name;
  matched_ = 0;
  if (const std::string* filename = disposition.find("filename")) {
    if (++files_ > limits_.max_files)
      return fail("Too many files. Maximum number of files is " + std::to_string(limits_.max_files) + ".");
    filename_ = base_name(*filename);
    state_ = State::file;
    return {Event::part_begin, consumed};
  }
  if (++fields_ > limits_.max_fields)
    return fail("Too many fields. Maximum number of fields is " + std::to_string(limits_.max_fields) + ".");
  value_.clear();
  state_ = State::field;
  return {Event::need_more, consumed};
}

// The body of a part up to the delimiter. A carriage return is in the delimiter only at its start, so that a match
// that breaks off can begin again only where it broke off: the scan never goes back.
MultipartParser::Step MultipartParser::body(const char* input, std::size_t size) {
  std::size_t at = 0;
  if (matched_) {  // the delimiter had begun when the input before this one ended
    while (at < size && matched_ < delimiter_.size() && input[at] == delimiter_[matched_]) ++at, ++matched_;
    if (matched_ == delimiter_.size()) {
      state_ = State::boundary_end;
      return {Event::part_end, at};
    }
    if (at == size) return {Event::need_more, at};
    return {Event::data, at, std::string_view(delimiter_).substr(0, std::exchange(matched_, 0))};
  }
  while (at < size) {
    const void* found = std::memchr(input + at, '\r', size - at);
    if (!found) return {Event::data, size, {input, size}};
    at = static_cast<std::size_t>(static_cast<const char*>(found) - input);
    std::size_t same = 1;
    while (same < delimiter_.size() && at + same < size && input[at + same] == delimiter_[same]) ++same;
    if (same == delimiter_.size() || at + same == size) {
      if (at) return {Event::data, at, {input, at}};  // and the delimiter with the next call
      matched_ = same;
      if (same < delimiter_.size()) return {Event::need_more, size};
      state_ = State::boundary_end;
      return {Event::part_end, same};
    }
    at += same;
  }
  return {Event::data, size, {input, size}};
}

MultipartParser::Step MultipartParser::next(const char* input, std::size_t size) {
  std::size_t at = 0;
  while (at < size) {
    const char c = input[at];
    switch (state_) {
      case State::preamble:
        // RFC 2046 allows anything here; a form has nothing but line breaks.
        if (c == delimiter_[matched_]) {
          if (++matched_ == delimiter_.size()) state_ = State::boundary_end;
        } else if (matched_ <= 2 && (c == '\r' || c == '\n')) {
          matched_ = c == '\r' ? 1 : 2;
          if (++skipped_ > kMaxPreamble)
            return fail("More than 1024 bytes before the first boundary of the multipart body.");
        } else {
          return fail("Unexpected data before the first boundary.");
        }
        ++at;
        break;
      case State::boundary_end:
        line_.clear();
        headers_.clear();
        head_bytes_ = 0;
        if (c == '-') {
          state_ = State::dash;
          ++at;
        } else {
          state_ = State::padding;
          skipped_ = 0;
        }
        break;
      case State::dash:
        if (c != '-') return fail("Malformed boundary in multipart.");
        ++at;
        skipped_ = 0;
        state_ = State::epilogue;
        return {Event::done, at};
      case State::padding:  // RFC 2046 section 5.1.1: blanks may follow a boundary
        if (c == '\r')
          state_ = State::boundary_lf;
        else if ((c != ' ' && c != '\t') || ++skipped_ > kMaxPreamble)
          return fail("Malformed boundary in multipart.");
        ++at;
        break;
      case State::boundary_lf:
        if (c != '\n') return fail("Malformed boundary in multipart.");
        state_ = State::head;
        ++at;
        break;
      case State::head: {
        const void* found = std::memchr(input + at, '\n', size - at);
        const std::size_t end =
            found ? static_cast<std::size_t>(static_cast<const char*>(found) - input) + 1 : size;
        head_bytes_ += end - at;
        if (head_bytes_ > limits_.max_part_header_bytes)
          return fail("Headers of a multipart part are larger than " +
                      std::to_string(limits_.max_part_header_bytes) + " bytes.");
        line_.append(input + at, end - at);
        at = end;
        if (!found) break;
        if (!line_.ends_with("\r\n")) return fail("Malformed header in multipart.");
        line_.resize(line_.size() - 2);
        if (line_.empty()) {
          Step step = begin_part(at);
          if (step.event != Event::need_more) return step;
          break;
        }
        if (headers_.size() == limits_.max_part_headers)
          return fail("A multipart part has more than " + std::to_string(limits_.max_part_headers) + " headers.");
        if (!header_line(line_)) return fail("Malformed header in multipart.");
        line_.clear();
        break;
      }
      case State::file: {
        Step step = body(input + at, size - at);
        step.consumed += at;
        if (step.event != Event::need_more) return step;
        at = step.consumed;
        break;
      }
      case State::field: {
        Step step = body(input + at, size - at);
        at += step.consumed;
        if (value_.size() + step.data.size() > limits_.max_part_size)
          return fail("Part exceeded maximum size of " + std::to_string(limits_.max_part_size / 1024) + "KB.");
        value_.append(step.data);
        if (step.event == Event::part_end) return {Event::field, at};
        break;
      }
      case State::epilogue:
        skipped_ += size - at;
        if (skipped_ > kMaxEpilogue)
          return fail("More than 65536 bytes after the last boundary of the multipart body.");
        return {Event::need_more, size};
      case State::failed: return {Event::error};
    }
  }
  return {state_ == State::failed ? Event::error : Event::need_more, at};
}

}  // namespace fasterapi::http
