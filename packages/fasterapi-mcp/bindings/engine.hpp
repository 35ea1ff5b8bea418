#pragma once
// The engine behind MCPServer: takes messages from transports, answers what it can natively, and hands the
// rest to one Python coroutine function. All of it runs on the loop's thread with the GIL held.
//
//   Channel  where the answer to one message goes (a line on stdout, a POST response, a slot of a batch)
//   Peer     state of a legacy client: the stdio process, or an HTTP session
//   Call     one request that Python works on
//   Tool     a registered function with simple parameters that is called without Python glue
//   Engine   the tables, and the dispatch by era
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/pyapi.hpp>

#include "codec/answer.hpp"
#include "fasterapi/mcp/message.hpp"
#include "http/rules.hpp"
#include "pyref.hpp"

namespace fasterapi::mcp {

class Engine;
struct Call;

class Channel {
 public:
  virtual ~Channel() = default;
  /// Where to write the next message. No Python code may run before the matching end_…().
  virtual OutBuffer& begin() = 0;
  virtual void end_answer(int http_status) = 0;
  /// A notification or request that goes before the answer.
  virtual void end_event() = 0;
  /// The request is cancelled: nothing will be said.
  virtual void abandon() = 0;
  virtual bool streams() const noexcept = 0;  // whether events reach the client
  /// The call that is waiting behind this channel, so that a client that leaves cancels it.
  virtual void attach(const std::shared_ptr<Call>& call) {}
  /// Header of the HTTP request that is answered here, nullptr data when there is none.
  virtual std::string_view header(std::string_view lower_name) const { return {}; }
  /// The message is of the modern era: an answer alone is JSON, also for a client that takes SSE.
  virtual void set_modern() {}
  virtual bool is_http() const noexcept { return false; }
  /// Ends an SSE stream before its answer, which waits for the client to come back (2025-11-25).
  virtual bool detach_stream() { return false; }
};

struct Peer {
  explicit Peer(std::string session) : session_id(std::move(session)) {}
  ~Peer();
  /// Sends outside of any call: to stdout, or to the session's GET stream. False when nobody listens.
  bool send(std::string_view method, std::string_view params);
  void fail_pending(const char* why);

  std::string session_id;                                          // empty for stdio and for stateless requests
  std::string version;                                             // agreed by initialize; empty before
  std::shared_ptr<Channel> stream;                                 // unsolicited messages; may be null
  std::unordered_map<std::string, std::weak_ptr<Call>> in_flight;  // by JSON text of the id
  std::unordered_map<long long, PyRef> pending;                    // our requests to the client: futures
  std::unordered_map<long long, std::weak_ptr<Channel>> streams;   // detached SSE streams by number
  std::list<std::shared_ptr<Channel>> kept;                        // the last detached streams, answered or not
  long long next_request = 1;
  long long next_stream = 1;
  PyRef state;  // dict, made on first use
  std::int64_t last_used = 0;
  bool closed = false;
};

struct Param {
  std::string name;
  char type;  // i, f, s, b
  bool required;
  PyRef fallback;
};

struct Tool {
  enum class Mode { kInline, kContext, kAsync, kSlow };
  std::string name;
  PyRef fn;
  Mode mode;
  std::vector<Param> params;
  char returns;     // i, f, s, b, n, or '*' when only Python can convert it
  bool structured;  // structuredContent {"result": ...}
  PyRef convert;    // callable(result, modern) -> bytes: the whole result object
};

struct Call {
  Engine* engine = nullptr;
  std::shared_ptr<Engine> keep;  // the engine outlives its calls
  std::shared_ptr<Channel> channel;
  std::shared_ptr<Peer> peer;
  std::string id;  // JSON text; empty for a notification
  std::string method;
  std::string params;  // JSON object, or empty
  std::string version;
  std::string progress_token, log_level;
  std::shared_ptr<Tool> tool;  // set when a native tool runs
  PyRef task;
  bool modern = false, answered = false, cancelled = false, finished = false;

  void cancel();
};

/// Where a message came in.
struct Inbound {
  std::shared_ptr<Channel> channel;
  std::shared_ptr<Peer> peer;  // stdio process or session; null: stateless
  bool http = false;
  bool stateless = false;  // legacy requests need no initialize before
  bool in_batch = false;
  void (*on_session)(Channel&, const std::shared_ptr<Peer>&) = nullptr;  // initialize has made a session
  std::string_view header_version;  // MCP-Protocol-Version; data() == nullptr when absent
};

struct Options {
  HostPolicy hosts;
  bool json_response = false, stateless = false;
  std::size_t max_message = 4u << 20;
  std::size_t max_sessions = 10'000;
  std::size_t max_in_flight = 1024;
  std::int64_t session_idle_ns = 1'800'000'000'000;
};

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  Engine(PyObject* handler, PyObject* on_exception)
      : handler_(PyRef::borrow(handler)), on_exception_(PyRef::borrow(on_exception)) {}

  // ---- tables
  void set_answer(std::string method, bool modern, std::string body);
  void set_methods(std::vector<std::string> modern, std::vector<std::string> legacy);
  void set_suffix(std::string suffix) { suffix_ = std::move(suffix); }
  void add_tool(std::shared_ptr<Tool> tool) { tools_[tool->name] = std::move(tool); }
  void remove_tool(const std::string& name) { tools_.erase(name); }
  Options& options() noexcept { return options_; }

  // ---- messages
  /// One line, body or batch element. Whatever goes wrong is answered; never throws.
  void handle(std::string_view text, Inbound& in) noexcept;
  void finish(Call& call, PyObject* result, PyObject* exception);

  // ---- sessions
  std::shared_ptr<Peer> find_session(std::string_view id);
  std::shared_ptr<Peer> new_session();
  bool end_session(std::string_view id);
  void add_peer(const std::shared_ptr<Peer>& peer) { loose_peers_.push_back(peer); }
  std::vector<std::shared_ptr<Peer>> peers();
  std::size_t calls() const noexcept { return calls_; }
  void close();

  OutBuffer& scratch() noexcept { return scratch_; }
  int gc_traverse(visitproc visit, void* arg);
  void gc_clear();

 private:
  friend struct Call;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  template <class T>
  using Table = std::unordered_map<std::string, T, Hash, std::equal_to<>>;
  using Set = std::unordered_set<std::string, Hash, std::equal_to<>>;

  void dispatch(Message& m, Inbound& in);
  void batch(std::string_view text, Inbound& in);
  void request(Message& m, Inbound& in);
  void notification(Message& m, Inbound& in);
  void response(Message& m, Inbound& in);
  bool check_modern(Message& m, Inbound& in);
  bool check_headers(Message& m, Inbound& in);
  void call_tool(Message& m, Inbound& in, bool modern);
  bool call_native(const std::shared_ptr<Tool>& tool, Message& m, Inbound& in, bool modern);
  void call_python(Message& m, Inbound& in, bool modern);
  std::shared_ptr<Call> make_call(Message& m, Inbound& in, bool modern);
  void start(const std::shared_ptr<Call>& call, PyObject* callable, PyObject* const* args, std::size_t count);
  bool answer_native(Channel& channel, std::string_view id, const Tool& tool, PyObject* result, bool modern);
  void answer_tool(Channel& channel, std::string_view id, const Tool& tool, PyObject* result, bool modern);
  void answer_tool_exception(Channel& channel, std::string_view id, const Tool& tool, PyObject* exception,
                             bool modern);
  void answer_exception(Channel& channel, std::string_view id, PyObject* exception, bool modern);
  void error(Inbound& in, std::string_view id, int code, std::string_view message, std::string_view data = {},
             int status = 0);

  PyRef handler_, on_exception_;
  Options options_;
  std::string suffix_;
  Table<std::string> answers_[2];
  Set methods_[2];
  Table<std::shared_ptr<Tool>> tools_;
  Table<std::shared_ptr<Peer>> sessions_;
  std::vector<std::weak_ptr<Peer>> loose_peers_;
  OutBuffer scratch_;
  std::size_t calls_ = 0;
};

/// Starts serving lines on two descriptors; returns a new core Future that ends with the input.
PyObject* serve_stdio(const std::shared_ptr<Engine>& engine, int in_fd, int out_fd, bool own);
/// The Python object of a call.
PyObject* wrap_call(const std::shared_ptr<Call>& call);
/// A new capsule with a core::Endpoint.
PyObject* make_endpoint(const std::shared_ptr<Engine>& engine);

}  // namespace fasterapi::mcp
