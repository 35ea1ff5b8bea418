// Link: one connection of a hub; sends requests, keeps the order of a lease, cleans up after it.
#include <cstring>

#include "hub.hpp"
#include "objects.hpp"
#include "pool/balancer.hpp"
#include "protocol/wire.hpp"

namespace fasterapi::pg::py {
namespace {

// What DISCARD ALL does, without forgetting prepared statements.
constexpr std::string_view kResetScript =
    "SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *;SELECT pg_advisory_unlock_all();"
    "DISCARD SEQUENCES;DISCARD TEMP";

/// A script of our own whose answer nobody waits for; its failure ends the connection.
class CleanUp final : public Operation {
 public:
  static void send(Session& session, std::string_view script) {
    auto* op = new CleanUp;
    frontend::query(session.out(), script);
    op->expect_script();
    session.push(*op);
    session.flush_soon();
  }

 private:
  bool on_row(std::string_view) noexcept override { return true; }
  void on_ready(Session& session, char status) noexcept override {
    if (failed() || status != 'I') {
      session.abort({Failure::Kind::lost, "the session could not be reset", {}});
    }
    delete this;
  }
  void on_lost(Session&, const Failure&) noexcept override { delete this; }
};

}  // namespace

/// Types of a statement: Parse, Describe, Sync.
class Link::Describe final : public Operation {
 public:
  Describe(Link& link, PyStatement& statement) : link_(link), statement_(&statement) {}

 private:
  bool on_row(std::string_view) noexcept override { return false; }
  void on_described(std::vector<std::uint32_t>&& parameters, std::vector<backend::Column>&& columns,
                    bool has_rows) noexcept override {
    PyStatement& s = *static_cast<PyStatement*>(statement_.get());
    if (s.ready) return;
    s.parameters = std::move(parameters);
    s.columns = std::move(columns);
    s.has_rows = has_rows;
  }
  void on_ready(Session& session, char status) noexcept override;
  void on_lost(Session&, const Failure& why) noexcept override {
    auto& s = *static_cast<PyStatement*>(statement_.get());
    link_.described(s, failure_error(why, true, true));
    delete this;
  }
  Link& link_;
  StatementRef statement_;
};

/// Rows of pg_type for types that are not built in, and for everything they are made of.
class Link::Introspect final : public Operation {
 public:
  Introspect(Link& link, PyStatement& statement, std::vector<std::uint32_t> asked)
      : link_(link), statement_(&statement), asked_(std::move(asked)) {}

  void send() {
    Session& session = *link_.session;
    bool multirange = std::atoi(std::string(session.parameter("server_version")).c_str()) >= 14;
    std::string list;
    for (std::uint32_t oid : asked_) list += (list.empty() ? "" : ",") + std::to_string(oid);
    std::string range = multirange ? "SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid"
                                   : "SELECT 0::pg_catalog.oid WHERE false";
    // Every part of a type is fetched with it, so that one round trip is enough.
    std::string sql =
        "WITH RECURSIVE parts(oid) AS (SELECT pg_catalog.unnest('{" + list +
        "}'::pg_catalog.oid[]) UNION "
        "SELECT p.oid FROM parts t JOIN LATERAL ("
        "SELECT y.typelem FROM pg_catalog.pg_type y WHERE y.oid = t.oid AND y.typelem <> 0 AND y.typcategory = "
        "'A' "
        "UNION ALL SELECT y.typbasetype FROM pg_catalog.pg_type y WHERE y.oid = t.oid AND y.typtype = 'd' "
        "UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid "
        "UNION ALL " +
        range +
        " "
        "UNION ALL SELECT a.atttypid FROM pg_catalog.pg_type y JOIN pg_catalog.pg_attribute a ON a.attrelid = "
        "y.typrelid "
        "WHERE y.oid = t.oid AND y.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped"
        ") p(oid) ON true) "
        "SELECT t.oid, n.nspname, y.typname, y.typtype, y.typcategory, y.typelem, y.typdelim, y.typbasetype, "
        "coalesce((SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid), 0), "
        "coalesce((" +
        range +
        "), 0), a.attname, a.atttypid "
        "FROM parts t JOIN pg_catalog.pg_type y ON y.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = "
        "y.typnamespace "
        "LEFT JOIN pg_catalog.pg_attribute a ON y.typtype = 'c' AND a.attrelid = y.typrelid AND a.attnum > 0 "
        "AND NOT a.attisdropped ORDER BY t.oid, a.attnum";
    // The list is made of numbers only; the simple protocol needs no statement of its own.
    frontend::query(session.out(), sql);
    expect_script();
    session.push(*this);
    session.flush_soon();
  }

 private:
  bool on_row(std::string_view body) noexcept override {
    wire::Reader in(body);
    if (in.u16() != 12) return false;
    std::string_view v[12];
    bool null[12];
    for (int i = 0; i < 12; ++i) {
      if (!in.field(v[i], null[i])) return false;
    }
    auto number = [](std::string_view s) {
      return static_cast<std::uint32_t>(std::strtoul(std::string(s).c_str(), nullptr, 10));
    };
    std::uint32_t oid = number(v[0]);
    if (rows_.empty() || rows_.back().oid != oid) {
      TypeRow row;
      row.oid = oid;
      row.schema = v[1];
      row.name = v[2];
      row.type = v[3].empty() ? 'b' : v[3][0];
      row.category = v[4].empty() ? 'U' : v[4][0];
      row.element = number(v[5]);
      row.delimiter = v[6].empty() ? ',' : v[6][0];
      row.base = number(v[7]);
      row.range_subtype = number(v[8]);
      row.multirange_range = number(v[9]);
      rows_.push_back(std::move(row));
    }
    if (!null[10]) rows_.back().attributes.emplace_back(std::string(v[10]), number(v[11]));
    return true;
  }
  void on_ready(Session&, char) noexcept override {
    auto& s = *static_cast<PyStatement*>(statement_.get());
    Ref error;
    if (failed()) {
      error = server_error(report().fields, nullptr);
    } else if (!s.catalog.add(rows_, asked_) || (!s.ready && !s.finish())) {
      error = take_error();
    }
    link_.described(s, std::move(error));
    delete this;
  }
  void on_lost(Session&, const Failure& why) noexcept override {
    link_.described(*static_cast<PyStatement*>(statement_.get()), failure_error(why, true, true));
    delete this;
  }
  Link& link_;
  StatementRef statement_;
  std::vector<std::uint32_t> asked_;
  std::vector<TypeRow> rows_;
};

void Link::Describe::on_ready(Session&, char) noexcept {
  auto& s = *static_cast<PyStatement*>(statement_.get());
  Ref error;
  if (failed()) {
    error = server_error(report().fields, s.sql_object.get());
  } else if (!s.ready) {
    std::vector<std::uint32_t> unknown = s.unknown_types();
    if (!unknown.empty()) {
      (new Introspect(link_, s, std::move(unknown)))->send();
      delete this;
      return;
    }
    if (!s.finish()) error = take_error();
  }
  link_.described(s, std::move(error));
  delete this;
}

// ---------------------------------------------------------------- life

Link::Link(Hub& h) : hub(&h) {}

Link::~Link() {
  if (token_) {
    token_->link = nullptr;
    if (--token_->uses == 0) delete token_;
  }
  if (handle) handle->link = nullptr;
}

void Link::connect() {
  connector = std::make_unique<Connector>(*hub->reactor(), hub->options, static_cast<ConnectorListener&>(*this));
  connector->start();
}

void Link::on_connector_done(Connector&, std::unique_ptr<Session> opened, const Failure* failure) noexcept {
  if (!opened) {
    Failure why = *failure;
    hub->link_failed(*this, why);  // the connector goes with this link, at the end of the turn
    return;
  }
  session = std::move(opened);
  session->set_listener(this);
  ++hub->stats.connects;
  idle_since = hub->reactor()->now();
  if (closing) {
    session->close_gracefully();
    return;
  }
  set_up();
}

/// on_connect(connection), if there is one.
void Link::set_up() noexcept {
  if (!hub->on_connect) {
    hub->link_ready(*this);
    return;
  }
  setting_up = true;
  leased = true;
  Ref object(make_connection(*hub, *this));
  if (!object) {
    set_up_done(this, nullptr, take_error().get());
    return;
  }
  if (hub->is_private()) {
    setting_up = false;
    leased = false;
    handle = nullptr;
    set_up_done(this, nullptr,
                make_error(errors.interface, "init= is a coroutine function: it needs a running loop").get());
    return;
  }
  PyObject* args[] = {object.get()};
  PyObject* task = core_py::api->task_call(hub->on_connect.get(), args, 1, nullptr, &Link::set_up_done, this);
  if (!task) {
    set_up_done(this, nullptr, take_error().get());
  } else {
    Py_DECREF(task);
  }
}

void Link::set_up_done(void* self, PyObject*, PyObject* exception) noexcept {
  auto* link = static_cast<Link*>(self);
  link->setting_up = false;
  if (link->handle) {
    link->handle->link = nullptr;
    link->handle = nullptr;
  }
  link->leased = false;
  if (exception) {
    link->closing = true;
    link->hub->fail_waiting(Ref::borrow(exception));
    for (PyObject*& f : link->hub->open_futures) {
      core_py::api->future_set_exception(f, exception);
      Py_DECREF(f);
    }
    link->hub->open_futures.clear();
    if (link->session) link->session->close_gracefully();
    return;
  }
  if (link->session) link->session->dirty = false;
  if (link->usable()) link->hub->link_ready(*link);
}

void Link::on_session_closed(Session&, const Failure& why) noexcept {
  while (!lane.empty()) {
    Request* r = lane.front();
    lane.pop_front();
    if (r->abandoned()) {
      r->drop();
    } else {
      r->fail(failure_error(why, true, true));
    }
  }
  hub->stats.received += session->bytes_received();
  hub->stats.sent += session->bytes_sent();
  hub->link_closed(*this);
  if (on_close) {
    Ref result(PyObject_CallNoArgs(on_close.get()));
    if (!result) PyErr_WriteUnraisable(on_close.get());
  }
}

void Link::close() noexcept {
  closing = true;
  if (session) {
    session->close_gracefully();
  } else if (connector) {
    connector.reset();
    hub->link_closed(*this);
  }
}

void Link::abort(const char* why) noexcept {
  closing = true;
  if (session) {
    session->abort({Failure::Kind::closed, why, {}});
  } else if (connector) {
    connector.reset();
    hub->link_closed(*this);
  }
}

void Link::on_notice(Session&, const backend::Report& report) noexcept {
  if (!on_notice_handler) return;
  Ref dict(PyDict_New());
  for (const auto& [code, value] : report.fields) {
    char key[2] = {code, 0};
    Ref text(to_str(value));
    if (!dict || !text || PyDict_SetItemString(dict.get(), key, text.get()) != 0) break;
  }
  Ref keep = on_notice_handler;
  Ref result(dict ? PyObject_CallOneArg(keep.get(), dict.get()) : nullptr);
  if (!result) PyErr_WriteUnraisable(keep.get());
}

void Link::on_notification(Session&, std::uint32_t pid, std::string_view channel,
                           std::string_view payload) noexcept {
  if (!on_notification_handler) return;
  Ref keep = on_notification_handler;
  Ref c(to_str(channel)), p(to_str(payload));
  Ref result(c && p ? PyObject_CallFunction(keep.get(), "IOO", pid, c.get(), p.get()) : nullptr);
  if (!result) PyErr_WriteUnraisable(keep.get());
}

// ---------------------------------------------------------------- sending

bool Link::encode_args(PyStatement& s, const std::string& name, const std::string& portal, Request& r,
                       PyObject* const* args, std::size_t count, OutBuffer& out) {
  std::size_t mark = frontend::bind_begin(out, portal, name, s.parameter_formats, count);
  for (std::size_t i = 0; i < count; ++i) {
    if (FASTERAPI_LIKELY(encode_value(*s.encoders[i], args[i], out))) continue;
    out.truncate(mark);
    wrap_argument_error(i + 1, args[i]);
    return false;
  }
  if (!frontend::bind_end(out, mark, s.result_formats)) {
    PyErr_SetString(errors.data, "the arguments of the query are longer than 1 GiB");
    return false;
  }
  return true;
}

bool Link::encode(Request& r) {
  OutBuffer& out = session->out();
  r.Operation::reset();
  if (r.shape == Shape::script) {
    Py_ssize_t size;
    const char* text = PyUnicode_AsUTF8AndSize(r.sql.get(), &size);
    if (!text) return false;
    if (!frontend::query(out, {text, static_cast<std::size_t>(size)})) {
      PyErr_SetString(errors.interface, "the script contains a NUL character or is longer than 1 GiB");
      return false;
    }
    r.expect_script();
    return true;
  }
  if (r.shape == Shape::portal_fetch) {
    frontend::execute(out, r.portal, r.limit);
    frontend::sync(out);
    r.expect_executions(1, false);
    return true;
  }
  PyStatement& s = *r.statement();
  auto too_long = [] {
    PyErr_SetString(errors.interface, "the query is longer than 1 GiB");
    return false;
  };
  if (r.shape == Shape::prepare) {
    if (!session->prepare(s, r, true)) return too_long();
    frontend::sync(out);
    return true;
  }
  bool bulk = r.shape == Shape::many || r.shape == Shape::many_records;
  std::size_t count = bulk ? 1 : r.args.size();
  if (!bulk && count != s.encoders.size()) {
    wrong_argument_count(s.encoders.size(), count);
    return false;
  }
  Prepared* known = session->options().unnamed_statements() || !s.cacheable ? nullptr : session->find(s);
  Nanos lifetime = session->options().statement_lifetime;
  if (known && lifetime && !known->pins && hub->reactor()->now() - known->since > lifetime) {
    session->drop(s, r);  // planned anew with the statistics of today
    known = nullptr;
  }
  if (!known) {
    // Arguments first: when one of them is wrong, nothing was promised to the server yet.
    OutBuffer trial;
    if (!bulk) {
      std::vector<PyObject*> raw(count);
      for (std::size_t i = 0; i < count; ++i) raw[i] = r.args[i].get();
      if (!encode_args(s, "", "", r, raw.data(), count, trial)) return false;
    }
  }
  std::size_t before = out.size();
  const std::string* name = session->prepare(s, r, known == nullptr);
  if (!name) return too_long();
  if (!known) ++hub->stats.prepared;
  std::size_t mark = out.size();
  if (bulk) {
    std::uint32_t executions = 0;
    Py_ssize_t rows = PyList_GET_SIZE(r.many.get());
    bool ok = true;
    for (Py_ssize_t i = 0; ok && i < rows; ++i) {
      Ref row(PySequence_Fast(PyList_GET_ITEM(r.many.get(), i),
                              "executemany() needs a sequence of argument sequences"));
      ok = static_cast<bool>(row);
      if (!ok) break;
      auto n = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(row.get()));
      if (n != s.encoders.size()) {
        wrong_argument_count(s.encoders.size(), n);
        ok = false;
        break;
      }
      ok = encode_args(s, *name, "", r, PySequence_Fast_ITEMS(row.get()), n, out);
      if (!ok) {
        name_argument_row(i);
        break;
      }
      frontend::execute(out, "", 0);
      ++executions;
    }
    if (!ok) {
      out.truncate(mark);
      if (!known) {  // Parse is in the buffer: let it go, nobody looks at the answer
        Ref error = take_error();
        frontend::sync(out);
        swallow(r, std::move(error));
      } else {
        out.truncate(before);
      }
      return known == nullptr ? true : false;
    }
    frontend::sync(out);
    r.expect_executions(executions);
    return true;
  }
  PyObject* small[8];
  std::vector<PyObject*> large;
  PyObject** raw = small;
  if (count > 8) {
    large.resize(count);
    raw = large.data();
  }
  for (std::size_t i = 0; i < count; ++i) raw[i] = r.args[i].get();
  if (!encode_args(s, *name, r.portal, r, raw, count, out)) {
    if (known) return false;
    Ref error = take_error();
    frontend::sync(out);
    swallow(r, std::move(error));
    return true;
  }
  if (r.shape == Shape::portal_bind) {
    frontend::sync(out);
    r.expect_portal_bind();
    return true;
  }
  if (r.shape == Shape::first || r.shape == Shape::value) {
    static constexpr char kOne[] = {'E', 0, 0, 0, 9, 0, 0, 0, 0, 1, 'S', 0, 0, 0, 4};
    out.append({kOne, sizeof kOne});
  } else {
    frontend::execute_and_sync(out);
  }
  r.expect_executions(1);
  return true;
}

/// The request goes out without an execution and fails with `error` when it comes back.
void Link::swallow(Request& r, Ref error) noexcept { r.error_ = std::move(error); }

void Link::send(Request* r) {
  r->link = this;
  bool ok;
  try {
    ok = encode(*r);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    ok = false;
  }
  if (!ok) {
    Ref error = take_error();
    bool one_off = r->exclusive;
    r->exclusive = false;
    r->link = nullptr;
    r->fail(std::move(error));
    if (one_off) release();
    return;
  }
  PyStatement* s = r->statement();
  r->cost_ = s ? s->cost_us : 0;
  session->load_us += r->cost_;
  r->started = hub->reactor()->now();
  ++session->uses;
  ++hub->stats.queries;
  if (leased && !session->dirty && r->shape != Shape::prepare) {
    session->dirty = s ? s->dirty : r->shape == Shape::script && script_is_dirty(*r);
  }
  session->push(*r);
  if (r->wait) {
    session->flush_now();
  } else {
    session->flush_soon();
  }
}

bool Link::script_is_dirty(const Request& r) noexcept {
  Py_ssize_t size;
  const char* text = PyUnicode_AsUTF8AndSize(r.sql.get(), &size);
  return text && classify({text, static_cast<std::size_t>(size)}) == StatementClass::exclusive;
}

void Link::submit(Request* r) {
  r->link = this;
  r->on_lease = true;
  lane.push_back(r);
  run_lane();
}

void Link::run_lane() noexcept {
  while (!lane.empty() && !gate && !cancelling && usable()) {
    Request* r = lane.front();
    if (r->abandoned()) {
      lane.pop_front();
      bool one_off = r->exclusive;
      r->link = nullptr;
      r->drop();
      if (one_off) release();
      continue;
    }
    bool needs_statement = r->shape != Shape::script && r->shape != Shape::portal_fetch;
    if (needs_statement && !r->statement_ref) {
      PyStatement* s = lookup_statement(*hub->catalog, r->sql.get(), hub->options->max_cacheable_statement);
      if (!s) {
        lane.pop_front();
        bool one_off = r->exclusive;
        r->link = nullptr;
        r->fail_current();
        if (one_off) release();
        continue;
      }
      r->statement_ref = StatementRef(s);
    }
    if (needs_statement && !r->statement()->ready) {
      gate = true;
      describe_for(*r->statement());
      return;
    }
    lane.pop_front();
    send(r);
  }
  if (returning && lane.empty() && session && !session->pipelined()) finish_release();
}

void Link::describe_for(PyStatement& s) {
  auto* op = new Describe(*this, s);
  if (!session->prepare(s, *op, true)) {
    delete op;
    described(s, make_error(errors.interface, "the query is longer than 1 GiB"));
    return;
  }
  ++hub->stats.prepared;
  frontend::sync(session->out());
  session->push(*op);
  // A thread that waits for this drives the reactor itself.
  session->flush_soon();
}

/// The types of `s` are known, or `error` says why not.
void Link::described(PyStatement& s, Ref error) noexcept {
  StatementRef keep(&s);
  s.describing = false;
  if (error) retire_statement(s);
  std::vector<Request*> ready;
  ready.swap(s.waiting);
  // The lane of this link, when its first request waits for this statement.
  if (gate && !lane.empty() && lane.front()->statement() == &s) {
    gate = false;
    if (error) {
      Request* r = lane.front();
      lane.pop_front();
      bool one_off = r->exclusive;
      r->link = nullptr;
      if (r->abandoned()) {
        r->drop();
      } else {
        r->fail(error);
      }
      if (one_off) release();
    }
    run_lane();
  }
  for (Request* r : ready) {
    if (r->abandoned()) {
      r->drop();
    } else if (error) {
      r->fail(error);
    } else {
      hub->submit(r);
    }
  }
}

void Link::again(Request* r) noexcept {
  account(*r);
  if (!r->on_lease) {  // the link may be leased by somebody else meanwhile
    r->link = nullptr;
    hub->submit(r);
  } else {
    lane.push_front(r);  // where it waits for a cancel that is still under way, or for a description
    run_lane();
  }
}

/// Keeps the moving average of the statement and the load of the session.
void Link::account(Request& r) noexcept {
  session->load_us -= r.cost_;
  if (session->load_us < 0 || !session->pipelined()) session->load_us = 0;
  PyStatement* s = r.statement();
  if (!s || r.shape == Shape::prepare) return;
  Nanos from = std::max(r.started, previous_end);
  double micros = static_cast<double>(std::max<Nanos>(hub->reactor()->now() - from, 0)) / 1000.0;
  s->cost_us = average(s->cost_us, micros, s->runs);
  if (s->runs < 1000) ++s->runs;
  previous_end = hub->reactor()->now();
}

void Link::finished(Request& r) noexcept {
  account(r);
  if (!r.on_lease && !leased) {
    // Shared because its text promised to leave nothing behind: does the server agree?
    bool tag_fits = r.failed() || r.tag_.empty() || shared_tag(r.tag_) || r.shape == Shape::many;
    if (session->transaction_status() != 'I') {
      session->abort({Failure::Kind::lost, "a shared statement left a transaction open", {}});
    } else if (!tag_fits) {
      expired = true;
    }
  }
  bool one_off = r.exclusive;
  r.exclusive = false;
  r.link = nullptr;
  if (one_off) release();
}

void Link::on_session_progress(Session&) noexcept {
  if (!session->pipelined() && !cancelling) recently_cancelled = false;
  if (!lane.empty()) run_lane();
  if (returning && lane.empty() && !session->pipelined()) finish_release();
  if (!leased && usable() && !hub->waiting.empty()) hub->pump();
  if (hub->closing && !leased && !session->pipelined() && hub->waiting.empty() && !closing) close();
}

// ---------------------------------------------------------------- leases

void Link::lease(ConnectionObject* object) noexcept {
  leased = true;
  returning = false;
  handle = object;
  session->last_used = hub->reactor()->now();
}

void Link::release() noexcept {
  if (!leased) return;
  if (handle) {
    handle->link = nullptr;
    handle = nullptr;
  }
  on_notice_handler = Ref();
  on_notification_handler = Ref();
  if (!session || closing || !session->is_open()) {
    leased = false;
    return;
  }
  if (!lane.empty() || session->pipelined()) {
    returning = true;  // what was asked for before is still answered
    return;
  }
  finish_release();
}

void Link::release_from_any_thread() noexcept {
  if (hub->is_private()) {
    release();
    if (hub->driving) hub->reactor()->wake();
  } else if (hub->on_loop_thread()) {
    release();
  } else {  // a lease of a blocking caller: what follows belongs to the loop's thread
    if (!token_) token_ = new LinkToken{this, 1};
    ++token_->uses;
    hub->reactor()->post([token = token_] {
      if (token->link) token->link->release();
      if (--token->uses == 0) delete token;
    });
  }
}

void Link::finish_release() noexcept {
  returning = false;
  leased = false;
  idle_since = hub->reactor()->now();
  if (session->transaction_status() != 'I') {
    CleanUp::send(*session, "ROLLBACK");
    session->assume_idle();
  }
  if (session->dirty) {
    CleanUp::send(*session, kResetScript);
    session->dirty = false;
    ++hub->stats.resets;
  }
  bool worn = hub->max_queries && session->uses >= hub->max_queries;
  if (expired || worn || hub->closing) {
    if (hub->waiting.empty() || expired || worn) {
      close();
      if (!hub->waiting.empty()) hub->grow(1);
      return;
    }
  }
  if (!hub->waiting.empty()) hub->pump();
}

// ---------------------------------------------------------------- cancel

void Link::cancel(Request& r) noexcept {
  if (!session || session->running() != &r) {
    // Not sent, not started or not ours any more. On a lease, what runs before it was not cancelled by anybody.
    return;
  }
  ++cancelling;
  recently_cancelled = true;
  session->flush_now();  // the query must be there before its cancel
  if (!token_) token_ = new LinkToken{this, 1};
  ++token_->uses;
  send_cancel(*session, &Link::cancel_done, token_);
}

void Link::cancel_done(void* self) noexcept {
  auto* token = static_cast<LinkToken*>(self);
  Link* link = token->link;
  if (--token->uses == 0) delete token;
  if (!link) return;
  if (link->cancelling) --link->cancelling;
  if (!link->cancelling) {
    link->run_lane();
    if (!link->leased && link->usable() && !link->hub->waiting.empty()) link->hub->pump();
  }
}

}  // namespace fasterapi::pg::py
