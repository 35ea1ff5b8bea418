// Hub: binding to a loop, the waiting queue, growing, shrinking and closing.
#include "hub.hpp"

#include <algorithm>

#include "objects.hpp"
#include "pool/balancer.hpp"

namespace fasterapi::pg::py {
namespace {

PyObject* g_get_running_loop = nullptr;  // asyncio's, which answers None instead of raising

void before_block(void* state) { *static_cast<PyThreadState**>(state) = PyEval_SaveThread(); }
void after_block(void* state) { PyEval_RestoreThread(*static_cast<PyThreadState**>(state)); }

}  // namespace

bool init_hub() {
  Ref asyncio(PyImport_ImportModule("asyncio"));
  g_get_running_loop = asyncio ? PyObject_GetAttrString(asyncio.get(), "_get_running_loop") : nullptr;
  return g_get_running_loop != nullptr;
}

PyObject* running_loop() { return PyObject_CallNoArgs(g_get_running_loop); }

// ---------------------------------------------------------------- acquisition

Acquisition::Acquisition(Hub* h) : timer(&Acquisition::timed_out, this), hub(h) { hub->ref(); }

Acquisition::~Acquisition() {
  if (timer.armed() && hub->reactor()) hub->reactor()->cancel(timer);
  Py_XDECREF(future);
  Py_XDECREF(owner);
  hub->unref();
}

void Acquisition::fail(Ref error) noexcept {
  if (wait) {
    finish_wait(*std::exchange(wait, nullptr), nullptr, error.release());
  } else if (PyObject* f = std::exchange(future, nullptr)) {
    core_py::api->future_on_cancel(f, nullptr, nullptr);
    if (core_py::api->future_set_exception(f, error.get()) < 0) PyErr_WriteUnraisable(f);
    Py_DECREF(f);
  }
}

void Acquisition::cancelled(void* self) noexcept {
  auto* a = static_cast<Acquisition*>(self);
  a->gone = true;
  Py_CLEAR(a->future);
  if (a->hub->single) {  // a connect() that nobody waits for any more: its socket goes at once
    Hub* hub = a->hub;
    HubRef keep(hub);
    hub->terminate();
  }
}

void Acquisition::timed_out(void* self) noexcept {
  auto* a = static_cast<Acquisition*>(self);
  a->gone = true;
  a->fail(make_error(errors.pool_timeout,
                     "no connection became free in time: " + std::to_string(a->hub->links.size()) +
                         " of at most " + std::to_string(a->hub->max_size) + " are in use (max_size)"));
}

// ---------------------------------------------------------------- life

Hub::Hub(ConfigObject* c, int low, int high) : options(*c->options), config(c), min_size(low), max_size(high) {
  Py_INCREF(reinterpret_cast<PyObject*>(c));
  catalog = new Catalog(options->decode_json);
  catalog->init();
}

void Hub::unref() noexcept {
  if (--refs_ != 0 || dying_) return;
  dying_ = true;  // callbacks that still run may take and drop references
  // Dropped by a callback of one of its own sessions: not while they are on the stack.
  if (reactor_ && !own_reactor_ && reactor_->in_turn()) {
    reactor_->post([this] { delete this; });
  } else {
    delete this;
  }
}

Hub::~Hub() {
  closing = closed = true;
  fail_waiting(closed_error());
  unbind();
  PyDict_Clear(catalog->statements());
  catalog->unref();
  Py_DECREF(reinterpret_cast<PyObject*>(config));
  Py_XDECREF(connection_class);
  if (record != &record_type) Py_DECREF(reinterpret_cast<PyObject*>(record));
  for (PyObject* f : open_futures) Py_DECREF(f);
  for (PyObject* f : close_futures) Py_DECREF(f);
}

void Hub::unbind() noexcept {
  for (auto& link : links) {
    if (link->session) link->session->set_listener(nullptr);
  }
  links.clear();
  timer_.reset();
  sweep_.reset();
  reactor_ = nullptr;
  own_reactor_.reset();
  loop_ = Ref();
  opened = false;
}

bool Hub::bind_loop(PyObject* loop, core::Reactor* reactor) {
  loop_ = Ref::borrow(loop);
  reactor_ = reactor;
  thread_ = PyThread_get_thread_ident();
  timer_ = std::make_unique<core::Timer>(&Hub::tick, this);
  sweep_ = std::make_unique<core::Deferred>(&Hub::sweep, this);
  if (!single) {
    reactor_->refresh_now();
    reactor_->arm_after(*timer_, kSecond);
  }
  return true;
}

bool Hub::attach() {
  core::Reactor* reactor = core_py::api->current_reactor();
  if (!reactor) return false;
  if (FASTERAPI_LIKELY(reactor == reactor_)) return true;
  PyObject* loop = core_py::api->current_loop();  // borrowed
  if (!loop) return false;
  if (!reactor_) return bind_loop(loop, reactor);
  if (own_reactor_) {
    // Used by blocking calls so far: the connections are opened anew on the loop.
    if (driving || !waiting.empty() || leased_count() > 0) {
      PyErr_SetString(errors.interface, "the pool is in use by blocking calls and cannot move to a loop now");
      return false;
    }
    terminate();
    while (!links.empty() && reactor_->turn(0) > 0) {
    }
    unbind();
    closed = closing = false;
    return bind_loop(loop, reactor);
  }
  Ref is_closed(PyObject_CallMethod(loop_.get(), "is_closed", nullptr));
  if (!is_closed) return false;
  if (is_closed.get() == Py_True && !single) {  // asyncio.run() twice: the old loop's connections died with it
    unbind();
    return bind_loop(loop, reactor);
  }
  PyErr_SetString(errors.interface, "the pool or connection belongs to another event loop");
  return false;
}

bool Hub::attach_private() {
  if (own_reactor_) return true;
  if (reactor_) {
    Ref is_closed(PyObject_CallMethod(loop_.get(), "is_closed", nullptr));
    if (!is_closed) return false;
    if (is_closed.get() != Py_True) {
      PyErr_SetString(errors.interface, "the pool belongs to an event loop");
      return false;
    }
    unbind();
  }
  try {
    own_reactor_ = std::make_unique<core::Reactor>();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_OSError, e.what());
    return false;
  }
  reactor_ = own_reactor_.get();
  reactor_->set_block_hooks(&before_block, &after_block, &saved_thread_);
  timer_ = std::make_unique<core::Timer>(&Hub::tick, this);
  sweep_ = std::make_unique<core::Deferred>(&Hub::sweep, this);
  return true;
}

// ---------------------------------------------------------------- links

std::size_t Hub::leased_count() const noexcept {
  std::size_t n = 0;
  for (const auto& link : links) n += link->leased;
  return n;
}

void Hub::grow(std::size_t wanted) noexcept {
  HubRef keep(this);
  if (closing && !single) return;
  std::size_t connecting = 0, alive = 0;
  for (const auto& link : links) {
    if (link->closing) continue;
    ++alive;
    connecting += link->connector && !link->session;
  }
  while (connecting < wanted && alive < static_cast<std::size_t>(max_size)) {
    links.push_back(std::make_unique<Link>(*this));
    ++connecting;
    ++alive;
    links.back()->connect();
    if (links.empty()) return;
  }
}

void Hub::link_ready(Link&) noexcept {
  HubRef keep(this);
  check_open();
  pump();
}

void Hub::link_failed(Link& link, const Failure& why) noexcept {
  HubRef keep(this);
  ++stats.connect_errors;
  link.closing = true;
  reactor_->defer(*sweep_);
  Ref error = failure_error(why, false, true);
  std::size_t alive = 0;
  for (const auto& l : links) alive += !l->closing && l->session != nullptr;
  for (PyObject* f : std::exchange(open_futures, {})) {
    if (core_py::api->future_set_exception(f, error.get()) < 0) PyErr_WriteUnraisable(f);
    Py_DECREF(f);
  }
  for (Wait* w : std::exchange(open_waits, {})) finish_wait(*w, nullptr, Py_NewRef(error.get()));
  if (alive == 0) {
    fail_waiting(error);
  } else if (!waiting.empty()) {
    Waiter w = waiting.front();
    waiting.pop_front();
    if (w.request) {
      if (w.request->abandoned()) {
        w.request->drop();
      } else {
        w.request->fail(error);
      }
    } else {
      w.lease->fail(error);
      delete w.lease;
    }
  }
}

void Hub::link_closed(Link& link) noexcept {
  link.closing = true;
  link.leased = false;
  if (link.handle) {
    link.handle->link = nullptr;
    link.handle = nullptr;
  }
  if (reactor_ && sweep_) reactor_->defer(*sweep_);
  if (!closing && !waiting.empty()) grow(1);
}

void Hub::sweep(void* self) noexcept {
  auto* hub = static_cast<Hub*>(self);
  HubRef keep(hub);
  auto dead = [](const std::unique_ptr<Link>& link) {
    return link->closing && (!link->session || !link->session->is_open());
  };
  hub->links.erase(std::remove_if(hub->links.begin(), hub->links.end(), dead), hub->links.end());
  if (!hub->closing && !hub->waiting.empty()) hub->grow(1);
  hub->check_closed();
}

void Hub::tick(void* self) noexcept {
  auto* hub = static_cast<Hub*>(self);
  Nanos now = hub->reactor_->now();
  for (std::size_t i = 0; i < hub->links.size(); ++i) {
    if (hub->links[i]->expired && hub->links[i]->idle()) hub->links[i]->close();
  }
  if (hub->max_idle > 0) {
    std::size_t alive = 0;
    for (const auto& link : hub->links) alive += !link->closing;
    for (auto& link : hub->links) {
      if (alive <= static_cast<std::size_t>(hub->min_size)) break;
      if (link->idle() && now - std::max(link->idle_since, link->session->last_progress) > hub->max_idle) {
        link->close();
        --alive;
      }
    }
  }
  hub->reactor_->arm_after(*hub->timer_, kSecond);
}

Link* Hub::pick_shared() noexcept {
  Nanos now = reactor_->now();
  std::size_t i = choose(links.size(), [&](std::size_t n) -> double {
    Link& link = *links[n];
    if (!link.usable() || link.leased || link.setting_up || link.cancelling || link.expired) return -1;
    double load = link.session->load_us;
    Nanos oldest = link.session->oldest();
    if (oldest && now - oldest > kOverdueNanos) load += static_cast<double>(now - oldest) / 1000;
    return load;
  });
  return i < links.size() ? links[i].get() : nullptr;
}

Link* Hub::pick_idle() noexcept {
  Link* least = nullptr;
  std::size_t alive = 0;
  for (std::size_t i = links.size(); i-- > 0;) {
    Link& link = *links[i];
    if (!link.closing) ++alive;
    if (!link.usable() || link.leased || link.setting_up || link.cancelling || link.expired) continue;
    if (!link.session->pipelined()) return &link;
    if (!least || link.session->load_us < least->session->load_us) least = &link;
  }
  // Busy with short queries only: the lease starts behind them, unless a new connection may be opened.
  return alive < static_cast<std::size_t>(max_size) && !closing ? nullptr : least;
}

Link* Hub::try_lease() {
  if (!waiting.empty()) return nullptr;
  return pick_idle();
}

bool Hub::place(Request* r) {
  PyStatement* s = r->statement();
  if (s && !s->ready) {
    if (s->describing) {
      s->waiting.push_back(r);
      return true;
    }
    Link* link = pick_shared();
    if (!link) return false;
    s->describing = true;
    s->waiting.push_back(r);
    link->describe_for(*s);
    return true;
  }
  bool shared = multiplex && s && s->kind == StatementClass::shared && s->cost_us < kSlowMicros &&
                r->shape != Shape::prepare && r->shape != Shape::portal_bind;
  if (shared) {
    Link* link = pick_shared();
    if (!link) return false;
    ++stats.shared;
    link->send(r);
    return true;
  }
  Link* link = pick_idle();
  if (!link) return false;
  ++stats.exclusive;
  r->exclusive = true;
  link->lease(nullptr);
  link->submit(r);
  return true;
}

void Hub::submit(Request* r) {
  r->hub = this;
  if (closing || closed) {
    r->fail(closed_error());
    return;
  }
  if (r->shape != Shape::script && !r->statement_ref) {
    PyStatement* s = lookup_statement(*catalog, r->sql.get(), options->max_cacheable_statement);
    if (!s) {
      r->fail_current();
      return;
    }
    r->statement_ref = StatementRef(s);
  }
  if (FASTERAPI_LIKELY(waiting.empty()) && place(r)) return;
  waiting.push_back({r, nullptr});
  grow(waiting.size());
}

void Hub::wait_for_lease(Acquisition* a) {
  waiting.push_back({nullptr, a});
  grow(waiting.size());
}

void Hub::pump() noexcept {
  HubRef keep(this);
  while (!waiting.empty()) {
    Waiter w = waiting.front();
    if (w.request) {
      if (w.request->abandoned()) {
        waiting.pop_front();
        w.request->drop();
        continue;
      }
      if (!place(w.request)) break;
      waiting.pop_front();
      continue;
    }
    if (w.lease->gone) {
      waiting.pop_front();
      delete w.lease;
      continue;
    }
    Link* link = pick_idle();
    if (!link) break;
    waiting.pop_front();
    Ref object(make_connection(*this, *link));
    if (!object) {
      w.lease->fail(take_error());
    } else if (w.lease->wait) {
      finish_wait(*std::exchange(w.lease->wait, nullptr), object.release(), nullptr);
    } else if (PyObject* f = std::exchange(w.lease->future, nullptr)) {
      core_py::api->future_on_cancel(f, nullptr, nullptr);
      // When the waiting task is cancelled between here and its wake-up, the handle dies with the future's
      // result, and a handle that dies gives its lease back.
      if (core_py::api->future_set_result(f, object.get()) < 0) PyErr_WriteUnraisable(f);
      Py_DECREF(f);
    }
    delete w.lease;
  }
  if (!waiting.empty()) grow(waiting.size());
}

void Hub::fail_waiting(const Ref& error) noexcept {
  std::deque<Waiter> all;
  all.swap(waiting);
  for (Waiter& w : all) {
    if (w.request) {
      if (w.request->abandoned()) {
        w.request->drop();
      } else {
        w.request->fail(error);
      }
    } else {
      w.lease->fail(error);
      delete w.lease;
    }
  }
}

Ref Hub::closed_error() const {
  return make_error(errors.pool_closed, single   ? "the connection is closed"
                                        : closed ? "the pool is closed"
                                                 : "the pool is closing");
}

// ---------------------------------------------------------------- open and close

void Hub::check_open() noexcept {
  if (open_futures.empty() && open_waits.empty()) return;
  std::size_t ready = 0;
  for (const auto& link : links) ready += link->usable() && !link->setting_up;
  if (ready < static_cast<std::size_t>(min_size)) return;
  opened = true;
  for (PyObject* f : std::exchange(open_futures, {})) {
    if (core_py::api->future_set_result(f, Py_None) < 0) PyErr_WriteUnraisable(f);
    Py_DECREF(f);
  }
  for (Wait* w : std::exchange(open_waits, {})) finish_wait(*w, Py_NewRef(Py_None), nullptr);
}

void Hub::close() noexcept {
  closing = true;
  for (std::size_t i = 0; i < links.size(); ++i) {
    Link& link = *links[i];
    if (!link.leased && !link.session)
      link.close();
    else if (!link.leased && !link.session->pipelined() && waiting.empty())
      link.close();
  }
  if (reactor_ && sweep_) reactor_->defer(*sweep_);
}

void Hub::terminate() noexcept {
  HubRef keep(this);
  closing = true;
  fail_waiting(closed_error());
  for (std::size_t i = 0; i < links.size(); ++i) links[i]->abort("the pool was terminated");
  if (reactor_ && sweep_) reactor_->defer(*sweep_);
}

void Hub::expire() noexcept {
  for (std::size_t i = 0; i < links.size(); ++i) {
    Link& link = *links[i];
    if (link.idle()) {
      link.close();
    } else {
      link.expired = true;
    }
  }
}

void Hub::check_closed() noexcept {
  if (!closing || !links.empty()) return;
  closed = true;
  on_connect = Ref();  // it usually refers to the pool
  fail_waiting(closed_error());
  for (PyObject* f : std::exchange(close_futures, {})) {
    if (core_py::api->future_set_result(f, Py_None) < 0) PyErr_WriteUnraisable(f);
    Py_DECREF(f);
  }
  for (Wait* w : std::exchange(close_waits, {})) finish_wait(*w, Py_NewRef(Py_None), nullptr);
}

}  // namespace fasterapi::pg::py
