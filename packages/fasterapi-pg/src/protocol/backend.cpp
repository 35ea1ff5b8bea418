#include "protocol/backend.hpp"

#include <charconv>

#include "protocol/wire.hpp"

namespace fasterapi::pg::backend {

using wire::Reader;

Frame next(const char* bytes, std::size_t size, std::size_t& position, Message& message, std::size_t max_message,
           std::size_t& wanted) noexcept {
  std::size_t left = size - position;
  if (left < 5) {
    wanted = 5;
    return Frame::incomplete;
  }
  const char* p = bytes + position;
  std::uint32_t length = wire::get32(p + 1);
  if (length < 4 || length > max_message) return Frame::malformed;
  std::size_t total = std::size_t{length} + 1;
  if (left < total) {
    wanted = total;
    return Frame::incomplete;
  }
  message.type = *p;
  message.body = {p + 5, total - 5};
  position += total;
  return Frame::complete;
}

std::string_view Report::get(char code) const noexcept {
  for (const auto& [key, value] : fields) {
    if (key == code) return value;
  }
  return {};
}

bool row_description(std::string_view body, std::vector<Column>& columns) {
  Reader in(body);
  std::size_t count = in.u16();
  // A column takes at least 19 bytes: a count that cannot be true must not reserve memory.
  if (!in.ok() || count * 19 > in.left()) return false;
  columns.clear();
  columns.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Column c;
    c.name = std::string(in.cstring());
    c.table_oid = in.u32();
    c.attribute = in.i16();
    c.type_oid = in.u32();
    c.type_size = in.i16();
    c.type_modifier = in.i32();
    c.format = in.u16();
    if (!in.ok() || c.format > 1) return false;
    columns.push_back(std::move(c));
  }
  return in.done();
}

bool parameter_description(std::string_view body, std::vector<std::uint32_t>& types) {
  Reader in(body);
  std::size_t count = in.u16();
  if (!in.ok() || count * 4 != in.left()) return false;
  types.clear();
  types.reserve(count);
  for (std::size_t i = 0; i < count; ++i) types.push_back(in.u32());
  return in.done();
}

bool report(std::string_view body, Report& out) {
  Reader in(body);
  out.fields.clear();
  for (;;) {
    char code = static_cast<char>(in.u8());
    if (!in.ok()) return false;
    if (code == 0) return in.done();
    std::string_view value = in.cstring();
    if (!in.ok() || out.fields.size() > 64) return false;
    out.fields.emplace_back(code, std::string(value));
  }
}

bool authentication(std::string_view body, Authentication& out) noexcept {
  Reader in(body);
  out.method = in.u32();
  if (!in.ok()) return false;
  out.data = {in.at(), in.left()};
  switch (out.method) {
    case kAuthOk:
    case kAuthCleartext: return out.data.empty();
    case kAuthMd5: return out.data.size() == 4;
    case kAuthSasl: return !out.data.empty();
    default: return true;
  }
}

bool mechanisms(std::string_view data, std::vector<std::string_view>& out) {
  Reader in(data);
  out.clear();
  for (;;) {
    std::string_view name = in.cstring();
    if (!in.ok() || out.size() > 32) return false;
    if (name.empty()) return in.done() && !out.empty();
    out.push_back(name);
  }
}

bool key_data(std::string_view body, std::uint32_t& pid, std::string& key) {
  Reader in(body);
  pid = in.u32();
  if (!in.ok() || in.left() < 4 || in.left() > 256) return false;
  key.assign(in.at(), in.left());
  return true;
}

bool parameter_status(std::string_view body, std::string_view& name, std::string_view& value) noexcept {
  Reader in(body);
  name = in.cstring();
  value = in.cstring();
  return in.done() && !name.empty();
}

bool command_complete(std::string_view body, std::string_view& tag) noexcept {
  Reader in(body);
  tag = in.cstring();
  return in.done();
}

bool ready_for_query(std::string_view body, char& status) noexcept {
  if (body.size() != 1) return false;
  status = body[0];
  return status == 'I' || status == 'T' || status == 'E';
}

bool notification(std::string_view body, std::uint32_t& pid, std::string_view& channel,
                  std::string_view& payload) noexcept {
  Reader in(body);
  pid = in.u32();
  channel = in.cstring();
  payload = in.cstring();
  return in.done();
}

bool negotiate_version(std::string_view body, std::uint32_t& version, std::vector<std::string>& refused) {
  Reader in(body);
  version = in.u32();
  std::uint32_t count = in.u32();
  if (!in.ok() || count > in.left()) return false;
  refused.clear();
  for (std::uint32_t i = 0; i < count; ++i) {
    refused.emplace_back(in.cstring());
    if (!in.ok()) return false;
  }
  return in.done();
}

bool data_row(std::string_view body, std::size_t columns) noexcept {
  Reader in(body);
  if (in.u16() != columns) return false;
  std::string_view value;
  bool null;
  for (std::size_t i = 0; i < columns; ++i) {
    if (!in.field(value, null)) return false;
  }
  return in.done();
}

long long affected_rows(std::string_view tag) noexcept {
  std::size_t space = tag.rfind(' ');
  if (space == std::string_view::npos) return -1;
  long long n = -1;
  const char* end = tag.data() + tag.size();
  auto [at, error] = std::from_chars(tag.data() + space + 1, end, n);
  return error == std::errc() && at == end ? n : -1;
}

}  // namespace fasterapi::pg::backend
