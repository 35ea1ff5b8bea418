// Streamable HTTP: a core::Endpoint in front of the engine. Any HTTP server that knows core's interface can
// mount it; it is handed out as a capsule.
#include <algorithm>

#include <fasterapi/core/endpoint.hpp>

#include "engine.hpp"
#include "fasterapi/mcp/protocol.hpp"

namespace fasterapi::mcp {

using core::HeaderField;
using core::py::api;

namespace {

constexpr core::Nanos kKeepAlive = 15'000'000'000;
constexpr std::size_t kStalled = 4u << 20;  // event bytes written while the client does not read
constexpr std::size_t kReplayEvents = 256;  // kept for a client that is to come back
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kEventStream = "text/event-stream";

/// The response to one POST: a JSON body, or an SSE stream once something goes before the answer.
class HttpChannel final : public Channel, public std::enable_shared_from_this<HttpChannel> {
 public:
  enum class State { fresh, streaming, detached, done };

  HttpChannel(std::shared_ptr<Engine> engine, core::Responder& responder, const core::RequestView* request,
              bool sse)
      : engine_(std::move(engine)),
        responder_(responder),
        request_(request),
        keep_alive_([](void* self) noexcept { static_cast<HttpChannel*>(self)->on_keep_alive(); }, this),
        sse_(sse),
        always_sse_(sse) {}

  ~HttpChannel() override {
    if (responder_ && watching_) responder_->on_disconnect(nullptr, nullptr);
    if (state_ == State::fresh && responder_ && responder_->connected()) respond(500, {});
  }

  /// The request view dies when handle() returns; what later code may ask for is copied.
  void leave_request() {
    if (state_ != State::done) keep_headers();
    request_ = nullptr;
  }
  void set_peer(std::shared_ptr<Peer> peer, bool answer_session) {
    peer_ = std::move(peer);
    answer_session_ = answer_session;
  }
  /// GET: the session's own stream.
  void open_stream() {
    start_stream(false);
    watch();
  }
  /// GET with Last-Event-ID: the client has come back for the rest of a stream.
  void reattach(core::Responder& responder, long long last_seen) {
    responder_ = core::ResponderRef(responder);
    watching_ = false;
    state_ = State::streaming;
    start_headers();
    for (auto& [number, text] : replay_)
      if (number > last_seen) responder_->write(text);
    if (answered_) return finish_stream();
    replay_.clear();
    watch();
    arm_keep_alive();
  }

  // ---- Channel
  OutBuffer& begin() override {
    OutBuffer& out = engine_->scratch();
    out.clear();
    return out;
  }
  void end_answer(int status) override {
    std::string_view text = engine_->scratch().view();
    if (state_ == State::fresh && (!always_sse_ || status != 200)) {
      respond(status, text);
    } else if (state_ == State::fresh) {
      start_stream(false);
      write_event(text);
      finish_stream();
    } else if (state_ == State::streaming) {
      write_event(text);
      finish_stream();
    } else if (state_ == State::detached) {
      answered_ = true;
      write_event(text);
    }
    calls_.clear();
  }
  void end_event() override {
    if (!streams()) return;
    // The text is in the engine's scratch, which start_stream() does not touch.
    if (state_ == State::fresh) start_stream();
    write_event(engine_->scratch().view());
  }
  void abandon() override {
    if (state_ == State::fresh) respond(202, {});
    if (state_ == State::streaming) finish_stream();
    state_ = State::done;
    calls_.clear();
  }
  bool streams() const noexcept override {
    return state_ == State::streaming || state_ == State::detached || (state_ == State::fresh && sse_);
  }
  void attach(const std::shared_ptr<Call>& call) override {
    calls_.push_back(call);
    // The answer takes a while: give the client a place to come back to (2025-11-25 asks for it).
    if (always_sse_ && resumable() && state_ == State::fresh) start_stream();
    watch();
  }
  std::string_view header(std::string_view name) const override {
    if (request_) return request_->header(name);
    for (auto& [key, value] : headers_)
      if (key == name) return value;
    return {};
  }
  bool is_http() const noexcept override { return true; }
  void set_modern() override { always_sse_ = false; }
  bool detach_stream() override {
    if (!resumable() || !always_sse_) return false;
    if (state_ == State::fresh) start_stream();
    if (state_ != State::streaming) return false;
    responder_->on_disconnect(nullptr, nullptr);
    responder_->finish();
    detach();
    return true;
  }

 private:
  bool resumable() const noexcept {
    return peer_ && !peer_->session_id.empty() && peer_->version == kLatestLegacyVersion;
  }

  void keep_headers() {
    if (!request_ || !headers_.empty()) return;
    for (const HeaderField& field : request_->headers()) {
      std::string name(field.name);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
      headers_.emplace_back(std::move(name), field.value);
    }
  }

  void respond(int status, std::string_view text) {
    state_ = State::done;
    HeaderField fields[1];
    responder_->respond(status, text.empty() ? std::string_view() : kJson, session_header(fields), text);
  }

  std::span<const HeaderField> session_header(HeaderField* field) {
    if (!answer_session_ || !peer_ || peer_->session_id.empty() || peer_->closed) return {};
    *field = {"Mcp-Session-Id", peer_->session_id};
    return {field, 1};
  }

  void start_headers() {
    HeaderField fields[3] = {{"Cache-Control", "no-cache, no-transform"}, {"X-Accel-Buffering", "no"}};
    std::size_t count = 2 + session_header(fields + 2).size();
    responder_->start(200, kEventStream, {fields, count});
  }

  /// `resume`: events get ids and the client a first one, so that it can come back for the rest.
  void start_stream(bool resume = true) {
    state_ = State::streaming;
    start_headers();
    if (resume && resumable()) {
      stream_ = peer_->next_stream++;
      char prime[64];
      int n = std::snprintf(prime, sizeof prime, "id: %lld_0\nretry: 1000\ndata: \n\n", stream_);
      responder_->write({prime, static_cast<std::size_t>(n)});
    }
    arm_keep_alive();
  }

  void write_event(std::string_view json) {
    std::string text;
    text.reserve(json.size() + 64);
    if (stream_ != 0) text += "id: " + std::to_string(stream_) + "_" + std::to_string(++event_) + "\n";
    text += "event: message\ndata: ";
    text += json;
    text += "\n\n";
    if (state_ == State::detached) {
      if (replay_.size() < kReplayEvents) replay_.emplace_back(event_, std::move(text));
      return;
    }
    if (responder_->write(text)) {
      stalled_ = 0;
    } else if ((stalled_ += text.size()) > kStalled) {
      cancel_calls();
    }
  }

  void finish_stream() {
    state_ = State::done;
    stop_keep_alive();
    responder_->finish();
  }

  void watch() {
    if (watching_ || state_ == State::done || state_ == State::detached) return;
    watching_ = true;
    responder_->on_disconnect([](void* self) noexcept { static_cast<HttpChannel*>(self)->on_disconnect(); }, this);
  }

  void detach() {
    watching_ = false;
    state_ = State::detached;
    stop_keep_alive();
    peer_->streams[stream_] = weak_from_this();
    // Keeps a handful of streams past their answer, so that the client can fetch it.
    if (peer_->streams.size() > 64)
      std::erase_if(peer_->streams, [](auto& item) { return item.second.expired(); });
    peer_->kept.push_back(shared_from_this());
    if (peer_->kept.size() > 16) peer_->kept.pop_front();
  }

  void on_disconnect() noexcept {
    auto self = shared_from_this();
    watching_ = false;
    stop_keep_alive();
    if (peer_ && peer_->stream.get() == this) peer_->stream.reset();
    bool modern = false;
    for (auto& weak : calls_)
      if (auto call = weak.lock()) modern = modern || call->modern;
    // Until 2025-11-25 a broken connection is not a cancellation; from 2026-07-28 on it is.
    if (!modern && state_ == State::streaming && stream_ != 0) return detach();
    state_ = State::done;
    if (modern) cancel_calls();
  }

  void cancel_calls() noexcept {
    auto calls = calls_;
    for (auto& weak : calls)
      if (auto call = weak.lock()) call->cancel();
  }

  void arm_keep_alive() {
    reactor_ = api->current_reactor();
    if (reactor_)
      reactor_->arm_after(keep_alive_, kKeepAlive);
    else
      PyErr_Clear();
  }
  void stop_keep_alive() noexcept {
    if (reactor_) reactor_->cancel(keep_alive_);
  }
  void on_keep_alive() noexcept {
    if (state_ != State::streaming) return;
    responder_->write(": keep-alive\n\n");
    reactor_->arm_after(keep_alive_, kKeepAlive);
  }

  std::shared_ptr<Engine> engine_;
  core::ResponderRef responder_;
  const core::RequestView* request_;
  core::Reactor* reactor_ = nullptr;
  core::Timer keep_alive_;
  std::shared_ptr<Peer> peer_;
  std::vector<std::pair<std::string, std::string>> headers_;
  std::vector<std::weak_ptr<Call>> calls_;
  std::vector<std::pair<long long, std::string>> replay_;
  long long stream_ = 0, event_ = 0;
  std::size_t stalled_ = 0;
  State state_ = State::fresh;
  bool sse_, always_sse_, answer_session_ = false, watching_ = false, answered_ = false;
};

class HttpEndpoint final : public core::Endpoint {
 public:
  explicit HttpEndpoint(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}
  std::size_t max_body() const noexcept override { return engine_->options().max_message; }

  void handle(const core::RequestView& request, core::Responder& responder) noexcept override {
    try {
      const Options& options = engine_->options();
      if (!options.hosts.host_allowed(request.header("host"))) {
        return refuse(responder, 421, "Host is not allowed: name it in allowed_hosts");
      }
      if (!options.hosts.origin_allowed(request.header("origin"))) {
        return refuse(responder, 403, "Origin is not allowed: name it in allowed_origins");
      }
      std::string_view method = request.method();
      if (method == "POST") return post(request, responder);
      std::string_view version = request.header("mcp-protocol-version");
      bool legacy = !version.data() || !is_modern_version(version);
      if (method == "GET" && legacy && !options.stateless) return get(request, responder);
      if (method == "DELETE" && legacy && !options.stateless) return end_session(request, responder);
      HeaderField allow{"Allow", options.stateless ? "POST" : "GET, POST, DELETE"};
      refuse(responder, 405, "Method not allowed", {&allow, 1});
    } catch (...) {
      responder.respond(500, {}, {}, {});
    }
  }

 private:
  static void refuse(core::Responder& responder, int status, std::string_view why,
                     std::span<const HeaderField> headers = {}) {
    OutBuffer out;
    write_error(out, {}, kInvalidRequest, why);
    responder.respond(status, kJson, headers, out.view());
  }

  /// The session that the request names. False: refused, answered.
  bool session(const core::RequestView& request, core::Responder& responder, bool required,
               std::shared_ptr<Peer>& peer) {
    std::string_view id = request.header("mcp-session-id");
    if (!id.data()) {
      if (required) refuse(responder, 400, "Mcp-Session-Id is missing");
      return !required;
    }
    peer = engine_->find_session(id);
    if (!peer) refuse(responder, 404, "No such session");
    return peer != nullptr;
  }

  void post(const core::RequestView& request, core::Responder& responder) {
    const Options& options = engine_->options();
    if (!is_json_content_type(request.header("content-type"))) {
      return refuse(responder, 415, "Content-Type must be application/json");
    }
    std::string_view accept = request.header("accept");
    // A client that takes anything (curl) gets what is easiest to read; streams go to those who name them.
    bool json = accepts(accept, kJson);
    bool sse = accepts(accept, kEventStream) && (!json || accept.find("event-stream") != std::string_view::npos);
    if (!sse && !json) return refuse(responder, 406, "Accept must admit application/json or text/event-stream");
    Inbound in;
    in.http = true;
    in.header_version = request.header("mcp-protocol-version");
    bool modern = in.header_version.data() && is_modern_version(in.header_version);
    if (in.header_version.data() && !modern && !is_legacy_version(in.header_version)) {
      return refuse(responder, 400, "Unsupported MCP-Protocol-Version");
    }
    bool answer_session = !modern && !options.stateless;
    if (answer_session && !session(request, responder, false, in.peer)) return;
    in.stateless = options.stateless;
    auto channel = std::make_shared<HttpChannel>(engine_, responder, &request, sse && !options.json_response);
    if (answer_session) channel->set_peer(in.peer, false);
    in.channel = channel;
    in.on_session =
        answer_session
            ? +[](Channel& c,
                  const std::shared_ptr<Peer>& peer) { static_cast<HttpChannel&>(c).set_peer(peer, true); }
            : nullptr;
    engine_->handle(request.body(), in);
    channel->leave_request();
  }

  void get(const core::RequestView& request, core::Responder& responder) {
    std::string_view accept = request.header("accept");
    if (!accept.data() || !accepts(accept, kEventStream)) {
      return refuse(responder, 406, "Accept must admit text/event-stream");
    }
    std::shared_ptr<Peer> peer;
    if (!session(request, responder, true, peer)) return;
    std::string_view last = request.header("last-event-id");
    if (last.data()) {
      long long stream = 0, event = 0;
      std::sscanf(std::string(last.substr(0, 64)).c_str(), "%lld_%lld", &stream, &event);
      auto found = peer->streams.find(stream);
      auto channel = found == peer->streams.end() ? nullptr : found->second.lock();
      if (channel) {
        peer->streams.erase(found);
        return static_cast<HttpChannel&>(*channel).reattach(responder, event);
      }
    }
    if (peer->stream) return refuse(responder, 409, "This session has a stream already");
    auto channel = std::make_shared<HttpChannel>(engine_, responder, &request, true);
    channel->set_peer(peer, true);
    peer->stream = channel;
    channel->open_stream();
    channel->leave_request();
  }

  void end_session(const core::RequestView& request, core::Responder& responder) {
    std::shared_ptr<Peer> peer;
    if (!session(request, responder, true, peer)) return;
    engine_->end_session(peer->session_id);
    responder.respond(200, {}, {}, {});
  }

  std::shared_ptr<Engine> engine_;
};

}  // namespace

PyObject* make_endpoint(const std::shared_ptr<Engine>& engine) {
  auto endpoint = std::make_unique<HttpEndpoint>(engine);
  // The capsule holds the base class pointer: readers cast to core::Endpoint*.
  core::Endpoint* base = endpoint.get();
  PyObject* capsule = PyCapsule_New(base, core::kEndpointCapsule, [](PyObject* self) {
    delete static_cast<core::Endpoint*>(PyCapsule_GetPointer(self, core::kEndpointCapsule));
  });
  if (capsule) endpoint.release();
  return capsule;
}

}  // namespace fasterapi::mcp
