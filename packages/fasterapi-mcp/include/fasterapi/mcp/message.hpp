#pragma once
// Message: one JSON-RPC 2.0 message, read on demand. Only the members that routing needs are looked at;
// everything else is validated and left as text.
//   Cost     one pass over the text, no allocation (unless a name or method is written with escapes)
//   Lifetime views point into the text that was parsed, or into the Message; keep both
//   Errors   never throws on bad input: kind is `invalid`, with the JSON-RPC error that answers it
#include <list>
#include <string>
#include <string_view>

namespace fasterapi::mcp {

struct Message {
  enum class Kind { request, notification, response, batch, invalid };
  Kind kind = Kind::invalid;
  int error_code = 0;           // when invalid
  const char* error_text = "";  // when invalid
  std::string_view id;          // JSON text of the id: 7 or "a"; empty when absent or unreadable
  std::string_view method;      // decoded
  std::string_view params;      // JSON object, empty when absent
  std::string_view result;      // response: JSON value
  std::string_view error;       // response: JSON object
  std::string_view text;        // batch: the array

  // ---- members of params; a raw one is empty when absent
  bool has_name = false, has_uri = false, has_task_id = false;
  std::string_view name, uri, task_id;  // decoded
  std::string_view arguments;           // raw
  std::string_view request_id;          // raw (notifications/cancelled)
  std::string_view cursor;              // raw
  bool has_input = false;               // inputResponses or requestState present
  // ---- members of params._meta
  std::string_view meta;  // raw object
  bool has_version = false;
  std::string_view version;         // decoded
  std::string_view capabilities;    // raw
  std::string_view progress_token;  // raw
  bool has_log_level = false;
  std::string_view log_level;      // decoded; empty when not a string
  std::list<std::string> decoded;  // storage of texts that had escapes
};

/// Parses one message (or recognises a batch, see for_each_in_batch).
void parse_message(std::string_view text, Message& message);

/// Calls `fn(arg, text)` with each element of a batch. False when it is no array, or an empty one.
bool for_each_in_batch(std::string_view text, void (*fn)(void* arg, std::string_view element), void* arg);

}  // namespace fasterapi::mcp
