#include "protocol/frontend.hpp"

#include "protocol/wire.hpp"

namespace fasterapi::pg::frontend {
namespace {

bool has_nul(std::string_view s) noexcept { return s.find('\0') != std::string_view::npos; }

void put_string(OutBuffer& out, std::string_view s) {
  out.append(s);
  out.push('\0');
}
void put_u16(OutBuffer& out, std::uint16_t v) { out.commit(wire::put16(out.reserve(2), v)); }
void put_u32(OutBuffer& out, std::uint32_t v) { out.commit(wire::put32(out.reserve(4), v)); }

std::size_t begin(OutBuffer& out, char type) {
  std::size_t mark = out.size();
  char* p = out.reserve(5);
  *p = type;
  out.commit(wire::put32(p + 1, 0));
  return mark;
}

/// Writes the length of the message that starts at `mark`; takes the message back when it is too long.
bool end(OutBuffer& out, std::size_t mark) {
  std::uint64_t length = out.size() - mark - 1;
  if (length > kMaxMessage) {
    out.truncate(mark);
    return false;
  }
  wire::put32(out.data() + mark + 1, static_cast<std::uint32_t>(length));
  return true;
}

bool one_string(OutBuffer& out, char type, std::string_view s) {
  if (has_nul(s) || s.size() + 16 > kMaxMessage) return false;
  std::size_t mark = begin(out, type);
  put_string(out, s);
  return end(out, mark);
}

void target(OutBuffer& out, char type, char what, std::string_view name) {
  std::size_t mark = begin(out, type);
  out.push(what);
  put_string(out, name);
  end(out, mark);
}

void bare(OutBuffer& out, char type) { end(out, begin(out, type)); }

}  // namespace

bool startup(OutBuffer& out, std::uint32_t version, std::span<const Parameter> parameters) {
  std::size_t mark = out.size();
  put_u32(out, 0);
  put_u32(out, version);
  for (const auto& [name, value] : parameters) {
    if (name.empty() || has_nul(name) || has_nul(value)) {
      out.truncate(mark);
      return false;
    }
    put_string(out, name);
    put_string(out, value);
  }
  out.push('\0');
  std::uint64_t length = out.size() - mark;
  if (length > 10000) {  // MAX_STARTUP_PACKET_LENGTH of the server
    out.truncate(mark);
    return false;
  }
  wire::put32(out.data() + mark, static_cast<std::uint32_t>(length));
  return true;
}

void ssl_request(OutBuffer& out) {
  put_u32(out, 8);
  put_u32(out, kSslRequestCode);
}

void cancel_request(OutBuffer& out, std::uint32_t pid, std::string_view key) {
  put_u32(out, static_cast<std::uint32_t>(12 + key.size()));
  put_u32(out, kCancelRequestCode);
  put_u32(out, pid);
  out.append(key);
}

bool password(OutBuffer& out, std::string_view password) { return one_string(out, 'p', password); }

bool sasl_initial(OutBuffer& out, std::string_view mechanism, std::string_view data) {
  if (has_nul(mechanism) || data.size() > kMaxMessage / 2) return false;
  std::size_t mark = begin(out, 'p');
  put_string(out, mechanism);
  put_u32(out, static_cast<std::uint32_t>(data.size()));
  out.append(data);
  return end(out, mark);
}

bool sasl_response(OutBuffer& out, std::string_view data) {
  if (data.size() > kMaxMessage / 2) return false;
  std::size_t mark = begin(out, 'p');
  out.append(data);
  return end(out, mark);
}

bool query(OutBuffer& out, std::string_view sql) { return one_string(out, 'Q', sql); }

bool parse(OutBuffer& out, std::string_view name, std::string_view sql, std::span<const std::uint32_t> types) {
  std::uint64_t size = std::uint64_t{name.size()} + sql.size() + types.size() * 4 + 16;
  if (has_nul(name) || has_nul(sql) || size > kMaxMessage || types.size() > kMaxParameters) return false;
  std::size_t mark = begin(out, 'P');
  put_string(out, name);
  put_string(out, sql);
  put_u16(out, static_cast<std::uint16_t>(types.size()));
  for (std::uint32_t type : types) put_u32(out, type);
  return end(out, mark);
}

void describe_statement(OutBuffer& out, std::string_view name) { target(out, 'D', 'S', name); }
void describe_portal(OutBuffer& out, std::string_view name) { target(out, 'D', 'P', name); }
void close_statement(OutBuffer& out, std::string_view name) { target(out, 'C', 'S', name); }
void close_portal(OutBuffer& out, std::string_view name) { target(out, 'C', 'P', name); }

void execute(OutBuffer& out, std::string_view portal, std::uint32_t limit) {
  std::size_t mark = begin(out, 'E');
  put_string(out, portal);
  put_u32(out, limit);
  end(out, mark);
}

void sync(OutBuffer& out) { bare(out, 'S'); }
void flush(OutBuffer& out) { bare(out, 'H'); }
void terminate(OutBuffer& out) { bare(out, 'X'); }
bool copy_fail(OutBuffer& out, std::string_view reason) { return one_string(out, 'f', reason); }
void copy_done(OutBuffer& out) { bare(out, 'c'); }

bool copy_data(OutBuffer& out, std::string_view data) {
  if (data.size() + 4 > kMaxMessage) return false;
  std::size_t mark = begin(out, 'd');
  out.append(data);
  return end(out, mark);
}

std::size_t bind_begin(OutBuffer& out, std::string_view portal, std::string_view statement,
                       std::span<const std::uint16_t> formats, std::size_t count) {
  std::size_t mark = out.size();
  char* p = out.reserve(5 + portal.size() + statement.size() + 2 + 2 + formats.size() * 2 + 2);
  *p = 'B';
  p = wire::put32(p + 1, 0);
  std::memcpy(p, portal.data(), portal.size());
  p += portal.size();
  *p++ = '\0';
  std::memcpy(p, statement.data(), statement.size());
  p += statement.size();
  *p++ = '\0';
  p = wire::put16(p, static_cast<std::uint16_t>(formats.size()));
  for (std::uint16_t format : formats) p = wire::put16(p, format);
  out.commit(wire::put16(p, static_cast<std::uint16_t>(count)));
  return mark;
}

bool bind_end(OutBuffer& out, std::size_t mark, std::span<const std::uint16_t> result_formats) {
  char* p = out.reserve(2 + result_formats.size() * 2);
  p = wire::put16(p, static_cast<std::uint16_t>(result_formats.size()));
  for (std::uint16_t format : result_formats) p = wire::put16(p, format);
  out.commit(p);
  return end(out, mark);
}

}  // namespace fasterapi::pg::frontend
