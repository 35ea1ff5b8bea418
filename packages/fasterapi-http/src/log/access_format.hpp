#pragma once
// Lines of the access log: a format string with gunicorn's atoms, compiled once, or JSON.
//   Cost     a pass over the compiled parts, no allocation once the line has grown; the clock text once per second
//   Safety   control characters, quotes and bytes beyond ASCII of the peer are written as \xNN (JSON: \u00NN)
//   Threads  one
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/http/transaction.hpp>

namespace fasterapi::http {

class AccessFormat {
 public:
  /// `format`: text with %(x)s atoms, or "json". False and a message for an atom that is not known.
  bool compile(std::string_view format, std::string& error);
  /// Replaces `line` with the record, with its line end.
  void write(const Transaction& transaction, std::int64_t elapsed_ns, std::string& line);

 private:
  enum class Kind : std::uint8_t {
    text,
    host,
    client,
    line,
    method,
    path,
    query,
    target,
    protocol,
    status,
    phrase,
    bytes,
    bytes_or_dash,
    header,
    time,
    iso_time,
    seconds,
    milliseconds,
    microseconds,
    decimal,
    pid,
    dash,
  };
  struct Part {
    Kind kind;
    std::string text;  // literal, or the lower-case name of a field
  };
  void put(const Part& part, const Transaction& transaction, std::int64_t elapsed_ns, std::string& line);
  void write_json(const Transaction& transaction, std::int64_t elapsed_ns, std::string& line);
  std::string_view clock(bool iso);

  std::vector<Part> parts_;
  bool json_ = false;
  std::time_t second_ = -1;
  std::string local_, iso_;
};

}  // namespace fasterapi::http
