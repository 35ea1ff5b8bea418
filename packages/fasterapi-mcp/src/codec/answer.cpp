#include "codec/answer.hpp"

#include <fasterapi/core/json_chars.hpp>

namespace fasterapi::mcp {

void write_json_string(OutBuffer& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out.push('"');
  const char* p = text.data();
  const char* end = p + text.size();
  while (p != end) {
    std::size_t plain = core::json::find<core::json::Stop::kText>(p, static_cast<std::size_t>(end - p));
    out.append({p, plain});
    p += plain;
    if (p == end) break;
    auto c = static_cast<unsigned char>(*p);
    if (c == '"' || c == '\\') {
      out.push('\\');
      out.push(*p++);
    } else if (c < 0x20) {
      switch (c) {
        case '\n': out.append("\\n"); break;
        case '\r': out.append("\\r"); break;
        case '\t': out.append("\\t"); break;
        default: {
          char escape[6] = {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
          out.append({escape, 6});
        }
      }
      ++p;
    } else if (unsigned n = core::json::utf8_length(p, static_cast<std::size_t>(end - p))) {
      out.append({p, n});
      p += n;
    } else {
      out.append("\xEF\xBF\xBD");
      ++p;
    }
  }
  out.push('"');
}

void write_error(OutBuffer& out, std::string_view id, int code, std::string_view message, std::string_view data) {
  out.append("{\"jsonrpc\":\"2.0\",");
  if (!id.empty()) {
    out.append("\"id\":");
    out.append(id);
    out.push(',');
  }
  out.append("\"error\":{\"code\":");
  out.append_int(code);
  out.append(",\"message\":");
  write_json_string(out, message);
  if (!data.empty()) {
    out.append(",\"data\":");
    out.append(data);
  }
  out.append("}}");
}

void write_notification(OutBuffer& out, std::string_view method, std::string_view params) {
  out.append("{\"jsonrpc\":\"2.0\",\"method\":\"");
  out.append(method);
  out.append("\",\"params\":");
  out.append(params);
  out.push('}');
}

void write_request(OutBuffer& out, long long id, std::string_view method, std::string_view params) {
  out.append("{\"jsonrpc\":\"2.0\",\"id\":");
  out.append_int(id);
  out.append(",\"method\":\"");
  out.append(method);
  out.append("\",\"params\":");
  out.append(params);
  out.push('}');
}

}  // namespace fasterapi::mcp
