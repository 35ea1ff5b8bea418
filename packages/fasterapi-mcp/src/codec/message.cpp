#include "fasterapi/mcp/message.hpp"

#include "codec/json_walk.hpp"
#include "fasterapi/mcp/protocol.hpp"

namespace fasterapi::mcp {
namespace {

using core::json::Cursor;
using core::json::Span;

class Parser {
 public:
  Parser(std::string_view text, Message& message) : text_(text), in_(text), m_(message) {}

  void run() {
    bool structural = detail::walk_object(in_, [this](std::string_view key) { return member(plain(key)); }) &&
                      detail::at_end(in_);
    if (!structural) {
      m_.id = {};
      return fail(kParseError, "Parse error: the message is not valid JSON");
    }
    if (reason_ != 0) return fail(reason_, why_);
    if (!version_ok_) return fail(kInvalidRequest, "Invalid Request: \"jsonrpc\" must be \"2.0\"");
    if (has_method_) {
      if (has_id_ && m_.id.empty())
        return fail(kInvalidRequest, "Invalid Request: id must be a string or an integer");
      if (params_bad_) return fail(kInvalidParams, "Invalid params: params must be an object");
      if (!bad_member_.empty()) return fail(kInvalidParams, bad_member_.data());
      m_.kind = has_id_ ? Message::Kind::request : Message::Kind::notification;
    } else if (!m_.result.empty() || !m_.error.empty()) {
      if (m_.id.empty() && m_.error.empty()) return fail(kInvalidRequest, "Invalid Request: a result needs an id");
      m_.kind = Message::Kind::response;
    } else {
      fail(kInvalidRequest, "Invalid Request: neither method nor result");
    }
  }

 private:
  void fail(int code, const char* text) {
    m_.kind = Message::Kind::invalid;
    m_.error_code = code;
    m_.error_text = text;
  }
  /// Remembers the first complaint and goes on, so that a bad envelope is still told from bad JSON.
  void complain(int code, const char* text) {
    if (reason_ == 0) {
      reason_ = code;
      why_ = text;
    }
  }
  /// Keys may be written with escapes, so they are compared decoded.
  std::string_view plain(std::string_view key) { return detail::decode(key, key_); }
  bool skip(std::string_view& raw) {
    Span span;
    if (!in_.value(span)) return false;
    raw = span.text;
    return true;
  }
  bool string(std::string_view& out) {
    std::string_view quoted;
    if (!in_.string(quoted)) return false;
    out = detail::unquote(quoted);
    if (out.find('\\') != std::string_view::npos) {
      m_.decoded.emplace_back();
      out = detail::decode(out, m_.decoded.back());
    }
    return true;
  }

  // Two members of one name are read differently by different parsers: refuse instead of choosing.
  void once(bool& seen) {
    if (seen) complain(kInvalidRequest, "Invalid Request: a member appears twice");
    seen = true;
  }

  bool member(std::string_view key) {
    std::string_view raw;
    if (key == "id") {
      once(has_id_);
      if (!skip(raw)) return false;
      if (raw.front() == '"' || detail::is_integer_token(raw)) m_.id = raw;
      return true;
    }
    if (key == "method") {
      once(has_method_);
      if (in_.peek() != '"') {
        complain(kInvalidRequest, "Invalid Request: method must be a string");
        return skip(raw);
      }
      return string(m_.method);
    }
    if (key == "params") {
      once(has_params_);
      if (in_.peek() != '{') {
        params_bad_ = true;
        return skip(raw);
      }
      std::size_t start = in_.offset();
      if (!detail::walk_object(in_, [this](std::string_view k) { return param(plain(k)); })) return false;
      m_.params = text_.substr(start, in_.offset() - start);
      return true;
    }
    if (key == "jsonrpc") {
      once(has_jsonrpc_);
      if (!skip(raw)) return false;
      version_ok_ = raw == "\"2.0\"";
      return true;
    }
    if (key == "result") return once(has_result_), skip(m_.result);
    if (key == "error") return once(has_error_), skip(m_.error);
    return skip(raw);
  }

  bool string_param(std::string_view& out, bool& present, const char* complaint) {
    if (present) bad_member_ = "Invalid params: a member appears twice";
    if (in_.peek() == '"') return present = true, string(out);
    if (bad_member_.empty()) bad_member_ = complaint;
    std::string_view raw;
    return skip(raw);
  }
  bool raw_param(std::string_view& out) {
    if (!out.empty()) bad_member_ = "Invalid params: a member appears twice";
    return skip(out);
  }

  bool param(std::string_view key) {
    if (key == "name") return string_param(m_.name, m_.has_name, "Invalid params: name must be a string");
    if (key == "arguments") return raw_param(m_.arguments);
    if (key == "uri") return string_param(m_.uri, m_.has_uri, "Invalid params: uri must be a string");
    if (key == "taskId")
      return string_param(m_.task_id, m_.has_task_id, "Invalid params: taskId must be a string");
    if (key == "requestId") return raw_param(m_.request_id);
    if (key == "cursor") return raw_param(m_.cursor);
    std::string_view raw;
    if (key == "inputResponses" || key == "requestState") return m_.has_input = true, skip(raw);
    if (key == "_meta") {
      if (!m_.meta.empty()) bad_member_ = "Invalid params: a member appears twice";
      if (in_.peek() != '{') {
        if (bad_member_.empty()) bad_member_ = "Invalid params: _meta must be an object";
        return skip(raw);
      }
      std::size_t start = in_.offset();
      if (!detail::walk_object(in_, [this](std::string_view k) { return meta(plain(k)); })) return false;
      m_.meta = text_.substr(start, in_.offset() - start);
      return true;
    }
    return skip(raw);
  }

  bool meta(std::string_view key) {
    if (key == kMetaVersion) {
      return string_param(m_.version, m_.has_version, "Invalid params: protocolVersion must be a string");
    }
    if (key == kMetaCapabilities) return raw_param(m_.capabilities);
    if (key == "progressToken") return raw_param(m_.progress_token);
    std::string_view raw;
    if (key == kMetaLogLevel) {
      m_.has_log_level = true;
      if (in_.peek() != '"') return skip(raw);
      return string(m_.log_level);
    }
    return skip(raw);
  }

  std::string_view text_;
  Cursor in_;
  Message& m_;
  std::string key_;
  int reason_ = 0;
  const char* why_ = "";
  std::string_view bad_member_;
  bool has_id_ = false, has_method_ = false, has_params_ = false, has_jsonrpc_ = false, has_result_ = false,
       has_error_ = false, version_ok_ = false, params_bad_ = false;
};

}  // namespace

void parse_message(std::string_view text, Message& message) {
  Cursor probe(text);
  char first = probe.peek();
  if (first == '{') return Parser(text, message).run();
  Span value;
  bool json = probe.value(value) && detail::at_end(probe);
  if (json && first == '[') {
    message.kind = Message::Kind::batch;
    message.text = value.text;
    return;
  }
  message.error_code = json ? kInvalidRequest : kParseError;
  message.error_text =
      json ? "Invalid Request: a message is a JSON object" : "Parse error: the message is not valid JSON";
}

bool for_each_in_batch(std::string_view text, void (*fn)(void* arg, std::string_view element), void* arg) {
  Cursor in(text);
  if (!in.take('[') || in.peek() == ']') return false;
  do {
    Span element;
    if (!in.value(element)) return false;
    fn(arg, element.text);
  } while (in.take(','));
  return in.take(']');
}

}  // namespace fasterapi::mcp
