// Dispatch: eras, checks, prebuilt answers, and the way into Python. Tools with simple parameters are in
// tool.cpp, transports in stdio.cpp and endpoint.cpp.
#include "engine.hpp"

#include <cstdio>

#include <sys/random.h>

#include "fasterapi/mcp/protocol.hpp"

namespace fasterapi::mcp {

using core::py::api;

// ----------------------------------------------------------------------------------------------------- Peer

Peer::~Peer() { fail_pending("the client has gone"); }

bool Peer::send(std::string_view method, std::string_view params) {
  if (!stream || !stream->streams()) return false;
  write_notification(stream->begin(), method, params);
  stream->end_event();
  return true;
}

void Peer::fail_pending(const char* why) {
  auto waiting = std::move(pending);
  pending.clear();
  for (auto& [number, future] : waiting) {
    PyRef error(PyObject_CallFunction(PyExc_ConnectionError, "s", why));
    if (!error || api->future_set_exception(future.get(), error.get()) < 0) PyErr_Clear();
  }
}

// ----------------------------------------------------------------------------------------------------- Call

void Call::cancel() {
  if (finished || cancelled) return;
  cancelled = true;
  if (task && api->task_cancel(task.get(), nullptr) < 0) PyErr_WriteUnraisable(task.get());
}

namespace {

void on_task_done(void* arg, PyObject* result, PyObject* exception) noexcept {
  std::unique_ptr<std::shared_ptr<Call>> holder(static_cast<std::shared_ptr<Call>*>(arg));
  Call& call = **holder;
  try {
    call.engine->finish(call, result, exception);
  } catch (...) {
    call.channel->abandon();
  }
  if (PyErr_Occurred()) PyErr_WriteUnraisable(nullptr);
}

}  // namespace

std::shared_ptr<Call> Engine::make_call(Message& m, Inbound& in, bool modern) {
  auto call = std::make_shared<Call>();
  call->engine = this;
  call->keep = shared_from_this();
  call->channel = in.channel;
  call->peer = in.peer;
  call->id.assign(m.id);
  call->method.assign(m.method);
  call->modern = modern;
  call->version.assign(modern                                 ? kModernVersion
                       : in.peer && !in.peer->version.empty() ? std::string_view(in.peer->version)
                       : in.header_version.data()             ? in.header_version
                                                              : kBatchVersion);
  call->progress_token.assign(m.progress_token);
  call->log_level.assign(m.log_level);
  return call;
}

void Engine::start(const std::shared_ptr<Call>& call, PyObject* callable, PyObject* const* args,
                   std::size_t count) {
  ++calls_;
  auto holder = std::make_unique<std::shared_ptr<Call>>(call);
  PyRef task(api->task_call(callable, args, count, nullptr, &on_task_done, holder.get()));
  if (!task) {
    PyRef exception(core::py::take_exception());
    finish(*call, nullptr, exception.get());
    return;
  }
  holder.release();
  if (call->finished) return;
  call->task = std::move(task);
  if (call->peer && !call->id.empty()) call->peer->in_flight[call->id] = call;
  call->channel->attach(call);
}

void Engine::finish(Call& call, PyObject* result, PyObject* exception) {
  if (call.finished) return;
  call.finished = true;
  --calls_;
  if (call.peer && call.task) {
    auto found = call.peer->in_flight.find(call.id);
    if (found != call.peer->in_flight.end() && found->second.lock().get() == &call)
      call.peer->in_flight.erase(found);
  }
  Channel& channel = *call.channel;
  if (call.cancelled || call.id.empty()) {
    channel.abandon();
  } else if (call.tool) {
    if (exception) {
      answer_tool_exception(channel, call.id, *call.tool, exception, call.modern);
    } else {
      answer_tool(channel, call.id, *call.tool, result, call.modern);
    }
  } else if (exception) {
    if (call.method == "initialize" && call.peer && !call.peer->session_id.empty() && call.peer->version.empty()) {
      end_session(call.peer->session_id);
    }
    answer_exception(channel, call.id, exception, call.modern);
  } else if (!PyBytes_Check(result)) {
    write_error(channel.begin(), call.id, kInternalError, "Internal error");
    channel.end_answer(200);
  } else {
    write_result(channel.begin(), call.id, py_view(result));
    channel.end_answer(200);
  }
  call.answered = true;
  call.task = PyRef();
}

void Engine::answer_exception(Channel& channel, std::string_view id, PyObject* exception, bool modern) {
  long code = kInternalError;
  std::string text = "Internal error", data;
  if (PyRef rpc{PyObject_GetAttrString(exception, "rpc_code")}; rpc && PyLong_Check(rpc.get())) {
    code = PyLong_AsLong(rpc.get());
    PyRef message(PyObject_Str(exception));
    text = py_view(message.get());
    PyRef extra(PyObject_GetAttrString(exception, "data"));
    if (extra && extra.get() != Py_None) {
      OutBuffer buffer;
      if (api->json_encode(extra.get(), &buffer, nullptr, core::py::kJsonNonStringKeys) == 0) data = buffer.view();
    }
  }
  PyErr_Clear();
  write_error(channel.begin(), id, static_cast<int>(code), text, data);
  channel.end_answer(modern ? http_status(static_cast<int>(code)) : 200);
}

// --------------------------------------------------------------------------------------------------- tables

void Engine::set_answer(std::string method, bool modern, std::string body) {
  answers_[modern][std::move(method)] = std::move(body);
}

void Engine::set_methods(std::vector<std::string> modern, std::vector<std::string> legacy) {
  methods_[1] = Set(modern.begin(), modern.end());
  methods_[0] = Set(legacy.begin(), legacy.end());
}

int Engine::gc_traverse(visitproc visit, void* arg) {
  Py_VISIT(handler_.get());
  Py_VISIT(on_exception_.get());
  for (auto& [name, tool] : tools_) {
    if (tool.use_count() > 1) continue;  // a running call holds it as well
    Py_VISIT(tool->fn.get());
    Py_VISIT(tool->convert.get());
    for (auto& param : tool->params) Py_VISIT(param.fallback.get());
  }
  return 0;
}

void Engine::gc_clear() {
  handler_ = PyRef();
  on_exception_ = PyRef();
  tools_.clear();
}

// ------------------------------------------------------------------------------------------------- sessions

std::shared_ptr<Peer> Engine::find_session(std::string_view id) {
  auto found = sessions_.find(id);
  if (found == sessions_.end()) return nullptr;
  found->second->last_used = core::monotonic_now();
  return found->second;
}

std::shared_ptr<Peer> Engine::new_session() {
  auto now = core::monotonic_now();
  // Most clients never send DELETE, so idle sessions are swept before new ones are made.
  if (sessions_.size() >= options_.max_sessions || sessions_.size() % 256 == 255) {
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      Peer& peer = *it->second;
      bool idle = peer.in_flight.empty() && !peer.stream && now - peer.last_used > options_.session_idle_ns;
      it = idle ? sessions_.erase(it) : std::next(it);
    }
    if (sessions_.size() >= options_.max_sessions) return nullptr;
  }
  unsigned char random[16];
  if (getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) return nullptr;
  std::string id;
  for (unsigned char byte : random) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", byte);
    id += hex;
  }
  auto peer = std::make_shared<Peer>(id);
  peer->last_used = now;
  sessions_[id] = peer;
  return peer;
}

bool Engine::end_session(std::string_view id) {
  auto found = sessions_.find(id);
  if (found == sessions_.end()) return false;
  auto peer = std::move(found->second);
  sessions_.erase(found);
  peer->closed = true;
  auto calls = peer->in_flight;
  for (auto& [key, weak] : calls)
    if (auto call = weak.lock()) call->cancel();
  peer->fail_pending("the session has ended");
  if (auto stream = std::move(peer->stream)) stream->abandon();
  peer->stream.reset();
  return true;
}

std::vector<std::shared_ptr<Peer>> Engine::peers() {
  std::vector<std::shared_ptr<Peer>> all;
  std::erase_if(loose_peers_, [](auto& weak) { return weak.expired(); });
  for (auto& weak : loose_peers_)
    if (auto peer = weak.lock(); peer && !peer->closed) all.push_back(std::move(peer));
  for (auto& [id, peer] : sessions_) all.push_back(peer);
  return all;
}

void Engine::close() {
  std::vector<std::string> ids;
  for (auto& [id, peer] : sessions_) ids.push_back(id);
  for (auto& id : ids) end_session(id);
}

// ------------------------------------------------------------------------------------------------- messages

void Engine::handle(std::string_view text, Inbound& in) noexcept {
  try {
    Message m;
    parse_message(text, m);
    dispatch(m, in);
  } catch (...) {
    if (PyErr_Occurred()) PyErr_WriteUnraisable(nullptr);
    in.channel->abandon();
  }
}

void Engine::dispatch(Message& m, Inbound& in) {
  switch (m.kind) {
    case Message::Kind::request: return request(m, in);
    case Message::Kind::notification: return notification(m, in);
    case Message::Kind::response: return response(m, in);
    case Message::Kind::batch: return batch(m.text, in);
    case Message::Kind::invalid: return error(in, m.id, m.error_code, m.error_text, {}, 400);
  }
}

void Engine::error(Inbound& in, std::string_view id, int code, std::string_view message, std::string_view data,
                   int status) {
  write_error(in.channel->begin(), id, code, message, data);
  in.channel->end_answer(status ? status : 200);
}

namespace {

/// Collects the answers of a batch (2025-03-26) and sends them as one array.
class BatchChannel final : public Channel {
 public:
  explicit BatchChannel(std::shared_ptr<Channel> parent) : parent_(std::move(parent)) {}
  OutBuffer& begin() override {
    current_.clear();
    return current_;
  }
  void end_answer(int) override {
    if (!answers_.empty()) answers_.push(',');
    answers_.append(current_.view());
    abandon();
  }
  void end_event() override {
    parent_->begin().append(current_.view());
    parent_->end_event();
  }
  void abandon() override {
    if (--open_ == 0) done();
  }
  bool streams() const noexcept override { return parent_->streams(); }
  std::string_view header(std::string_view name) const override { return parent_->header(name); }
  void attach(const std::shared_ptr<Call>& call) override { parent_->attach(call); }
  void expect() { ++open_; }

 private:
  void done() {
    if (answers_.empty()) return parent_->abandon();
    OutBuffer& out = parent_->begin();
    out.push('[');
    out.append(answers_.view());
    out.push(']');
    parent_->end_answer(200);
  }
  std::shared_ptr<Channel> parent_;
  OutBuffer current_, answers_;
  std::size_t open_ = 0;
};

}  // namespace

void Engine::batch(std::string_view text, Inbound& in) {
  bool allowed = in.peer && !in.peer->version.empty() ? in.peer->version == kBatchVersion
                 : in.http && in.stateless ? !in.header_version.data() || in.header_version == kBatchVersion
                                           : false;
  if (in.in_batch || !allowed) {
    return error(in, {}, kInvalidRequest, "Invalid Request: batches exist only in protocol version 2025-03-26", {},
                 400);
  }
  auto channel = std::make_shared<BatchChannel>(in.channel);
  struct Context {
    Engine* engine;
    Inbound inbound;
    BatchChannel* channel;
  } context{this, in, channel.get()};
  context.inbound.channel = channel;
  context.inbound.in_batch = true;
  channel->expect();  // held open until all elements are started
  bool any = for_each_in_batch(
      text,
      [](void* arg, std::string_view element) {
        auto& c = *static_cast<Context*>(arg);
        c.channel->expect();
        c.engine->handle(element, c.inbound);
      },
      &context);
  if (!any)
    error(context.inbound, {}, kInvalidRequest, "Invalid Request: an empty batch");
  else
    channel->abandon();
}

void Engine::notification(Message& m, Inbound& in) {
  bool modern = m.has_version || (in.header_version.data() && is_modern_version(in.header_version));
  if (in.http && !modern && !in.stateless && !in.peer) {
    return error(in, {}, kInvalidRequest, "Mcp-Session-Id is missing", {}, 400);
  }
  if (m.method == "notifications/initialized") return in.channel->abandon();
  if (m.method == "notifications/cancelled" && in.peer) {
    auto found = in.peer->in_flight.find(std::string(m.request_id));
    if (found != in.peer->in_flight.end())
      if (auto call = found->second.lock()) call->cancel();
  }
  in.channel->abandon();
}

void Engine::response(Message& m, Inbound& in) {
  if (in.peer && !m.id.empty()) {
    PyRef number(PyLong_FromString(std::string(m.id).c_str(), nullptr, 10));
    long long key = number ? PyLong_AsLongLong(number.get()) : -1;
    PyErr_Clear();
    auto found = in.peer->pending.find(key);
    if (found != in.peer->pending.end()) {
      PyRef future = std::move(found->second);
      in.peer->pending.erase(found);
      // The future gets the pair (result, error); the Python side raises.
      std::string_view text = m.error.empty() ? m.result : m.error;
      PyRef value(api->json_decode(text.data(), text.size(), 0));
      PyRef pair(
          value ? PyTuple_Pack(2, m.error.empty() ? value.get() : Py_None, m.error.empty() ? Py_None : value.get())
                : nullptr);
      if (!pair) {
        PyRef failure(core::py::take_exception());
        api->future_set_exception(future.get(), failure.get());
      } else if (api->future_set_result(future.get(), pair.get()) < 0) {
        PyErr_Clear();
      }
    }
  }
  in.channel->abandon();
}

bool Engine::check_headers(Message& m, Inbound& in) {
  auto mismatch = [&](std::string text) {
    error(in, m.id, kHeaderMismatch, text, {}, 400);
    return false;
  };
  std::string value;
  // Whoever routes or limits by a mirrored header must be able to rely on it: it equals the body or nothing runs.
  if (!in.header_version.data()) return mismatch("Header mismatch: MCP-Protocol-Version is missing");
  if (!decode_header_value(in.header_version, value) || value != m.version) {
    return mismatch("Header mismatch: MCP-Protocol-Version differs from _meta");
  }
  std::string_view header = in.channel->header("mcp-method");
  if (!header.data()) return mismatch("Header mismatch: Mcp-Method is missing");
  if (!decode_header_value(header, value) || value != m.method) {
    return mismatch("Header mismatch: Mcp-Method differs from the method of the body");
  }
  bool named = m.method == "tools/call" || m.method == "prompts/get";
  bool uri = m.method == "resources/read";
  bool task = m.method == "tasks/get" || m.method == "tasks/update" || m.method == "tasks/cancel";
  if (named || uri || task) {
    std::string_view expected = named ? m.name : uri ? m.uri : m.task_id;
    header = in.channel->header("mcp-name");
    if (!header.data()) return mismatch("Header mismatch: Mcp-Name is missing");
    if (!decode_header_value(header, value) || value != expected) {
      return mismatch("Header mismatch: Mcp-Name differs from the body");
    }
  }
  return true;
}

bool Engine::check_modern(Message& m, Inbound& in) {
  if (!m.has_version) {
    error(in, m.id, kInvalidParams, "Invalid params: _meta needs io.modelcontextprotocol/protocolVersion", {},
          400);
    return false;
  }
  if (in.http && !check_headers(m, in)) return false;
  if (m.version != kModernVersion) {
    OutBuffer data;
    data.append("{\"supported\":[\"");
    data.append(kModernVersion);
    data.append("\"],\"requested\":");
    write_json_string(data, m.version);
    data.push('}');
    error(in, m.id, kUnsupportedVersion, "Unsupported protocol version", data.view(), 400);
    return false;
  }
  if (m.capabilities.empty() || m.capabilities.front() != '{') {
    error(in, m.id, kInvalidParams, "Invalid params: _meta needs io.modelcontextprotocol/clientCapabilities", {},
          400);
    return false;
  }
  if (m.has_log_level && !is_log_level(m.log_level)) {
    error(in, m.id, kInvalidParams, "Invalid params: unknown logLevel", {}, 400);
    return false;
  }
  return true;
}

void Engine::request(Message& m, Inbound& in) {
  bool modern = m.has_version || m.method == "server/discover" ||
                (in.http && in.header_version.data() && is_modern_version(in.header_version));
  if (modern) {
    in.channel->set_modern();
    if (!check_modern(m, in)) return;
  } else if (m.method == "initialize") {
    if (in.in_batch)
      return error(in, m.id, kInvalidRequest, "Invalid Request: initialize cannot be part of a batch");
    if (in.http && !in.stateless && !in.peer) {
      in.peer = new_session();
      if (!in.peer) return error(in, m.id, kInternalError, "Too many sessions", {}, 503);
      if (in.on_session) in.on_session(*in.channel, in.peer);
    }
    return call_python(m, in, false);
  } else if (m.method == "ping") {
    write_result(in.channel->begin(), m.id, "{}");
    return in.channel->end_answer(200);
  } else if (!in.stateless && (!in.peer || in.peer->version.empty())) {
    if (in.http)
      return error(in, m.id, kInvalidRequest, "Mcp-Session-Id is missing: send initialize first", {}, 400);
    return error(in, m.id, kInvalidParams,
                 "Invalid params: send initialize first, or _meta with io.modelcontextprotocol/protocolVersion");
  }
  if (m.cursor.empty()) {
    auto found = answers_[modern].find(m.method);
    if (found != answers_[modern].end()) {
      write_result(in.channel->begin(), m.id, found->second);
      return in.channel->end_answer(200);
    }
  }
  if (methods_[modern].find(m.method) == methods_[modern].end()) {
    return error(in, m.id, kMethodNotFound, "Method not found: " + std::string(m.method.substr(0, 100)), {},
                 modern ? 404 : 200);
  }
  if (m.method == "tools/call") return call_tool(m, in, modern);
  call_python(m, in, modern);
}

void Engine::call_tool(Message& m, Inbound& in, bool modern) {
  if (!m.has_name) return error(in, m.id, kInvalidParams, "Invalid params: name is missing");
  if (!m.arguments.empty() && m.arguments.front() != '{') {
    return error(in, m.id, kInvalidParams, "Invalid params: arguments must be an object");
  }
  auto found = tools_.find(m.name);
  if (found == tools_.end()) {
    return error(in, m.id, kInvalidParams, "Unknown tool: " + std::string(m.name.substr(0, 100)));
  }
  if (found->second->mode != Tool::Mode::kSlow && !m.has_input && call_native(found->second, m, in, modern))
    return;
  call_python(m, in, modern);
}

void Engine::call_python(Message& m, Inbound& in, bool modern) {
  if (calls_ >= options_.max_in_flight)
    return error(in, m.id, kInternalError, "Too many calls in flight", {}, 503);
  auto call = make_call(m, in, modern);
  call->params.assign(m.params);

  PyRef object(wrap_call(call));
  if (!object) {
    PyErr_WriteUnraisable(nullptr);
    return error(in, m.id, kInternalError, "Internal error");
  }
  PyObject* args[2] = {nullptr, object.get()};
  start(call, handler_.get(), args + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET);
}

}  // namespace fasterapi::mcp
