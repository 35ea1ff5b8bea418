#pragma once
// Messages of the server: framing and the typed content of each, every length checked.
//   Cost     next() reads one header; parsers copy only what must outlive the message
//   Errors   false (or Frame::malformed): the server broke the protocol and the connection is of no use any more
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fasterapi::pg::backend {

/// One complete message; `body` points into the caller's buffer.
struct Message {
  char type = 0;
  std::string_view body;
};

enum class Frame { complete, incomplete, malformed };

/// Takes the first message off `bytes` [position, size). `incomplete` reports in `wanted` how many bytes the
/// message needs in all, 5 when not even the header is there.
Frame next(const char* bytes, std::size_t size, std::size_t& position, Message& message, std::size_t max_message,
           std::size_t& wanted) noexcept;

struct Column {
  std::string name;
  std::uint32_t table_oid = 0;
  std::int16_t attribute = 0;
  std::uint32_t type_oid = 0;
  std::int16_t type_size = 0;
  std::int32_t type_modifier = -1;
  std::uint16_t format = 0;
  bool operator==(const Column&) const = default;
};

/// Fields of ErrorResponse and NoticeResponse in the order they came.
struct Report {
  std::vector<std::pair<char, std::string>> fields;
  std::string_view get(char code) const noexcept;
  std::string_view sqlstate() const noexcept { return get('C'); }
};

struct Authentication {
  std::uint32_t method = 0;
  std::string_view data;  // MD5: the salt; SASL: the mechanism list; SASL continue and final: the data
};
enum AuthenticationMethod : std::uint32_t {
  kAuthOk = 0,
  kAuthCleartext = 3,
  kAuthMd5 = 5,
  kAuthSasl = 10,
  kAuthSaslContinue = 11,
  kAuthSaslFinal = 12,
};

bool row_description(std::string_view body, std::vector<Column>& columns);
bool parameter_description(std::string_view body, std::vector<std::uint32_t>& types);
bool report(std::string_view body, Report& out);
bool authentication(std::string_view body, Authentication& out) noexcept;
bool mechanisms(std::string_view data, std::vector<std::string_view>& out);
bool key_data(std::string_view body, std::uint32_t& pid, std::string& key);
bool parameter_status(std::string_view body, std::string_view& name, std::string_view& value) noexcept;
bool command_complete(std::string_view body, std::string_view& tag) noexcept;
bool ready_for_query(std::string_view body, char& status) noexcept;
bool notification(std::string_view body, std::uint32_t& pid, std::string_view& channel,
                  std::string_view& payload) noexcept;
bool negotiate_version(std::string_view body, std::uint32_t& version, std::vector<std::string>& refused);
/// True when the row has exactly `columns` fields whose lengths fill the body to the byte.
bool data_row(std::string_view body, std::size_t columns) noexcept;

/// The last number of a command tag ("INSERT 0 5", "SELECT 3"); -1 when there is none.
long long affected_rows(std::string_view tag) noexcept;

}  // namespace fasterapi::pg::backend
