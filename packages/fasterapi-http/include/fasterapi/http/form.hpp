#pragma once
// Forms: multipart/form-data (RFC 7578) and application/x-www-form-urlencoded, sans-IO and incremental.
//   Cost     linear in the bytes, however they are split; multipart data is passed on as slices of the input
//   State    one part's head, or one pair: nothing grows with the body
//   Limits   hold while parsing; every error text names its limit
//   Threads  one at a time
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fasterapi::http {

struct FormLimits {
  std::uint64_t max_files = 100;
  std::uint64_t max_fields = 1000;
  std::uint64_t max_part_size = 1024 * 1024;  // bytes of a field that is no file; of a pair when urlencoded
  std::size_t max_part_headers = 16;
  std::size_t max_part_header_bytes = 8 * 1024;
};

inline constexpr std::size_t kMaxBoundary = 256;
inline constexpr std::size_t kMaxPreamble = 1024;       // line breaks before the first boundary
inline constexpr std::size_t kMaxEpilogue = 64 * 1024;  // whatever after the last one

/// Parameters of a field like `form-data; name="x"`: the value in lower case, names in lower case, the first of
/// equal names counts, `name*` (RFC 8187) beats `name`. Linear; what is malformed is left out.
struct FieldParameters {
  std::string value;
  std::vector<std::pair<std::string, std::string>> parameters;
  /// Null when absent.
  const std::string* find(std::string_view lower_name) const noexcept;
};
FieldParameters parse_parameters(std::string_view field);

/// The last segment of what a client calls its file: a name never becomes a path.
std::string_view base_name(std::string_view filename) noexcept;

class MultipartParser {
 public:
  enum class Event : std::uint8_t {
    need_more,   // the input is used up
    part_begin,  // a file begins: filename(), name(), headers()
    data,        // of the file
    part_end,
    field,  // a whole field: name(), value()
    done,   // after the closing boundary; what follows is ignored
    error,
  };
  struct Step {
    Event event;
    std::size_t consumed = 0;  // bytes of the input that are dealt with
    std::string_view data = {};
  };

  /// Throws std::invalid_argument for a boundary that is empty, too long or not made of visible characters.
  MultipartParser(std::string_view boundary, FormLimits limits);

  Step next(const char* input, std::size_t size);
  /// Whether the closing boundary was seen: the body may end.
  bool done() const noexcept { return state_ == State::epilogue; }

  const std::string& name() const noexcept { return name_; }
  const std::string& filename() const noexcept { return filename_; }
  /// Of the part: names in lower case, values as sent.
  const std::vector<std::pair<std::string, std::string>>& headers() const noexcept { return headers_; }
  const std::string& value() const noexcept { return value_; }
  const std::string& error() const noexcept { return error_; }

 private:
  enum class State : std::uint8_t {
    preamble,
    boundary_end,
    dash,
    padding,
    boundary_lf,
    head,
    file,
    field,
    epilogue,
    failed
  };
  Step fail(std::string text);
  bool header_line(std::string_view line);
  Step begin_part(std::size_t consumed);
  Step body(const char* input, std::size_t size);

  std::string delimiter_;  // CRLF "--" boundary
  FormLimits limits_;
  State state_ = State::preamble;
  std::size_t matched_ = 2;  // of the delimiter: the body's first one may come without its CRLF
  std::size_t skipped_ = 0;  // preamble, then epilogue
  std::uint64_t files_ = 0, fields_ = 0;
  std::string line_;
  std::size_t head_bytes_ = 0;
  std::vector<std::pair<std::string, std::string>> headers_;
  std::string name_, filename_, value_, error_;
};

class UrlencodedParser {
 public:
  explicit UrlencodedParser(FormLimits limits) : limits_(limits) {}
  /// Appends what is complete, decoded ('+' is a space). False after an error.
  bool feed(std::string_view input, std::vector<std::pair<std::string, std::string>>& out);
  bool finish(std::vector<std::pair<std::string, std::string>>& out);
  const std::string& error() const noexcept { return error_; }

 private:
  bool add(std::string_view pair, std::vector<std::pair<std::string, std::string>>& out);
  FormLimits limits_;
  std::string rest_;  // of the pair that is not complete
  std::uint64_t fields_ = 0;
  std::string error_;
};

}  // namespace fasterapi::http
