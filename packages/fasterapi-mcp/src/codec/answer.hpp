#pragma once
// Writers of JSON-RPC answers: text templates with the id spliced in, straight into an output buffer.
//   Cost     memcpy; a quoted text costs one scan for characters that need an escape
//   Errors   memory only (std::bad_alloc)
#include <string_view>

#include <fasterapi/core/buffer.hpp>

namespace fasterapi::mcp {

using core::OutBuffer;

/// `text` as a JSON string, quotes included. Bytes that are not UTF-8 are replaced by U+FFFD.
void write_json_string(OutBuffer& out, std::string_view text);

inline void write_result_head(OutBuffer& out, std::string_view id) {
  out.append("{\"jsonrpc\":\"2.0\",\"id\":");
  out.append(id);
  out.append(",\"result\":");
}
/// `body` is the complete JSON value of the result.
inline void write_result(OutBuffer& out, std::string_view id, std::string_view body) {
  write_result_head(out, id);
  out.append(body);
  out.push('}');
}
/// `id` empty: it could not be read, the member is left out. `data`: JSON, empty for none.
void write_error(OutBuffer& out, std::string_view id, int code, std::string_view message,
                 std::string_view data = {});
/// `method` must not need escapes; `params`: JSON object.
void write_notification(OutBuffer& out, std::string_view method, std::string_view params);
void write_request(OutBuffer& out, long long id, std::string_view method, std::string_view params);

}  // namespace fasterapi::mcp
