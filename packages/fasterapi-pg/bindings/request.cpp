#include "request.hpp"

#include <new>

#include "hub.hpp"
#include "objects.hpp"
#include "protocol/wire.hpp"

namespace fasterapi::pg::py {
namespace {

constexpr unsigned kMaxRetries = 3;  // of a query that cancels meant for others keep hitting
constexpr unsigned kFreeRequests = 256;
struct FreeNode {
  FreeNode* next;
};
#ifndef Py_GIL_DISABLED
FreeNode* g_free = nullptr;
unsigned g_free_count = 0;
#endif

}  // namespace

void* Request::operator new(std::size_t size) {
#ifndef Py_GIL_DISABLED
  if (g_free && size == sizeof(Request)) {
    FreeNode* node = g_free;
    g_free = node->next;
    --g_free_count;
    return node;
  }
#endif
  return ::operator new(size);
}

void Request::operator delete(void* p) noexcept {
#ifndef Py_GIL_DISABLED
  if (g_free_count < kFreeRequests) {
    auto* node = static_cast<FreeNode*>(p);
    node->next = g_free;
    g_free = node;
    ++g_free_count;
    return;
  }
#endif
  ::operator delete(p);
}

Request::Request(Shape s) : shape(s), timer_(&Request::timed_out, this) {}

Request::~Request() {
  if (wait) wait->request = nullptr;
  Py_XDECREF(value_);
  Py_XDECREF(future);
}

Request* Request::make(Shape shape) { return new Request(shape); }

void Request::arm(core::Reactor& reactor) {
  if (timeout <= 0) return;
  reactor.refresh_now();
  reactor.arm_after(timer_, timeout);
  if (wait) reactor.wake();
}

void Request::watch_cancel() { core_py::api->future_on_cancel(future, &Request::cancelled, this); }

void Request::disarm() noexcept {
  if (timer_.armed() && hub && hub->reactor()) hub->reactor()->cancel(timer_);
}

void Request::cancelled(void* self) noexcept {
  auto* r = static_cast<Request*>(self);
  Py_CLEAR(r->future);
  r->disarm();
  if (r->hub) ++r->hub->stats.cancelled;
  if (r->link) r->link->cancel(*r);
}

void Request::timed_out(void* self) noexcept {
  auto* r = static_cast<Request*>(self);
  Ref error(PyObject_CallNoArgs(errors.timeout));
  if (!error) error = take_error();
  PyObject* e = error.release();
  r->deliver(nullptr, e);
  if (r->hub) ++r->hub->stats.cancelled;
  if (r->link) r->link->cancel(*r);
}

/// Hands the outcome to whoever waits and forgets them; takes both references.
void Request::deliver(PyObject* value, PyObject* error) noexcept {
  if (wait) {
    finish_wait(*std::exchange(wait, nullptr), value, error);
  } else if (PyObject* f = std::exchange(future, nullptr)) {
    core_py::api->future_on_cancel(f, nullptr, nullptr);
    int code = error ? core_py::api->future_set_exception(f, error) : core_py::api->future_set_result(f, value);
    if (code < 0) PyErr_WriteUnraisable(f);
    Py_DECREF(f);
    Py_XDECREF(value);
    Py_XDECREF(error);
  } else {
    Py_XDECREF(value);
    Py_XDECREF(error);
  }
}

void Request::succeed(PyObject* value) noexcept {
  disarm();
  deliver(value, nullptr);
  delete this;
}

void Request::fail(Ref error) noexcept {
  disarm();
  deliver(nullptr, error.release());
  delete this;
}

void Request::drop() noexcept {
  disarm();
  delete this;
}

void Request::forget_result() noexcept {
  Operation::reset();
  Py_CLEAR(value_);
  error_ = Ref();
  rows_.bytes.clear();
  rows_.count = 0;
  actual_ = StatementRef();
}

// ---------------------------------------------------------------- answers

void Request::on_described(std::vector<std::uint32_t>&&, std::vector<backend::Column>&& columns,
                           bool has_rows) noexcept {
  // First use of the statement on this connection. Another search_path or a changed table can give other columns
  // than the ones that were described elsewhere: then these rows are decoded by what this connection says.
  PyStatement* known = statement();
  if (!known || known->same_result(columns)) return;
  auto* fresh = new PyStatement(known->catalog, known->sql_object.get(), known->sql);
  StatementRef guard(fresh);
  fresh->parameters = known->parameters;
  fresh->columns = std::move(columns);
  fresh->has_rows = has_rows;
  bool ok = fresh->unknown_types().empty();
  if (ok && !fresh->finish()) {
    PyErr_Clear();
    ok = false;
  }
  if (ok && fresh->result_formats == known->result_formats) {
    actual_ = guard;
    return;
  }
  if (!error_) {
    error_ = make_error(errors.interface,
                        "the result of the statement has changed since it was prepared; run it again");
  }
  retire_statement(*known);
}

bool Request::on_row(std::string_view body) noexcept {
  if (shape == Shape::script) return true;
  if (abandoned() || error_ || shape == Shape::status || shape == Shape::many) return true;
  RowError error = RowError::none;
  switch (shape) {
    case Shape::records:
    case Shape::many_records:
    case Shape::portal_fetch: {
      PyObject* row = decode_row(*rows_of(), record, body, error);
      if (!row) break;
      if (value_) {
        if (PyList_Append(value_, row) != 0) error_ = take_error();
        Py_DECREF(row);
      } else if ((value_ = PyList_New(1))) {  // most results have one row
        PyList_SET_ITEM(value_, 0, row);
      } else {
        Py_DECREF(row);
        error_ = take_error();
      }
      break;
    }
    case Shape::first:
      if (!value_) value_ = decode_row(*rows_of(), record, body, error);
      break;
    case Shape::value: {
      if (value_) break;
      if (column) {
        if (PyUnicode_Check(column.get())) {
          PyObject* index = PyDict_GetItemWithError(rows_of()->shape->indexes, column.get());
          if (!index) {
            if (!PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, column.get());
            error_ = take_error();
            return true;
          }
          column_index_ = PyLong_AsSsize_t(index);
        } else {
          column_index_ = PyNumber_AsSsize_t(column.get(), PyExc_IndexError);
          if (column_index_ == -1 && PyErr_Occurred()) {
            error_ = take_error();
            return true;
          }
        }
      }
      auto count = static_cast<Py_ssize_t>(rows_of()->decoders.size());
      if (column_index_ < 0) column_index_ += count;
      if (column_index_ < 0 || column_index_ >= count) {
        PyErr_SetString(PyExc_IndexError, count ? "record index out of range" : "the query has no columns");
        error_ = take_error();
        return true;
      }
      value_ = decode_column(*rows_of(), static_cast<std::size_t>(column_index_), body, error);
      break;
    }
    case Shape::result: {
      if (!backend::data_row(body, rows_of()->decoders.size())) return false;
      char* p = rows_.bytes.reserve(body.size() + 4);
      std::uint32_t size = static_cast<std::uint32_t>(body.size());
      std::memcpy(p, &size, 4);
      std::memcpy(p + 4, body.data(), body.size());
      rows_.bytes.commit(p + 4 + body.size());
      ++rows_.count;
      break;
    }
    default: return false;
  }
  if (error == RowError::malformed) return false;
  if (error == RowError::python) error_ = take_error();
  return true;
}

void Request::on_complete(std::string_view tag, bool suspended) noexcept {
  if (!tag.empty() || shape != Shape::script) tag_ = tag;
  suspended_ = suspended;
}

void Request::on_copy_in() noexcept { copy_ = true; }
void Request::on_copy_out() noexcept { copy_ = true; }

PyObject* Request::take_result() {
  PyObject* value = std::exchange(value_, nullptr);
  switch (shape) {
    case Shape::records:
    case Shape::many_records: return value ? value : PyList_New(0);
    case Shape::portal_fetch: return finish_portal_fetch(*this, value ? value : PyList_New(0), suspended_);
    case Shape::first:
    case Shape::value: return value ? value : Py_NewRef(Py_None);
    case Shape::status:
    case Shape::script: return to_str(tag_);
    case Shape::result: return make_result(*rows_of(), record, std::move(rows_), tag_);
    case Shape::many: return Py_NewRef(Py_None);
    case Shape::prepare: return make_statement_object(*this);
    case Shape::portal_bind: return make_portal(*this);
  }
  return nullptr;
}

void Request::on_ready(Session& session, char status) noexcept {
  Link* l = link;
  if (failed() || error_ || abandoned() || copy_) {
    bool idle = status == 'I';
    if (failed() && retries < kMaxRetries && idle) {
      std::string_view state = report().sqlstate();
      // The server does not have the statement (a pooler switched servers, DEALLOCATE, DISCARD), or its plan gives
      // another result now, or a cancel that was meant for a query before it hit this one: nothing has happened
      // yet, and outside a transaction it may simply be sent again.
      bool missing = state == "26000" && retries == 0;
      bool replan = state == "0A000" && retries == 0 && report().get('R') == "RevalidateCachedQuery";
      bool stray = state == "57014" && l->stray_cancel(*this);
      if ((missing || replan || stray) && statement() && !abandoned() && shape != Shape::prepare) {
        if (missing) session.forget(*statement());
        if (replan) {
          session.forget(*statement());
          retire_statement(*statement());
          statement_ref = StatementRef();
        }
        ++retries;
        ++hub->stats.healed;
        forget_result();
        l->again(this);
        return;
      }
    }
    if (failed() && statement()) {
      std::string_view state = report().sqlstate();
      if (state == "26000") session.forget(*statement());
      if (state == "0A000" && report().get('R') == "RevalidateCachedQuery") {
        session.forget(*statement());
        retire_statement(*statement());
      }
    }
    l->finished(*this);
    if (abandoned()) {
      drop();
    } else if (copy_ && (!failed() || report().sqlstate() == "57014")) {
      fail(make_error(errors.interface,
                      "COPY FROM STDIN and COPY TO STDOUT need the copy_ methods of a connection"));
    } else if (failed()) {
      fail(server_error(report().fields, sql ? sql.get() : nullptr));
    } else {
      fail(std::move(error_));
    }
    return;
  }
  if (actual_ && statement()) {  // from now on everybody uses what this connection said
    retire_statement(*statement());
    replace_statement(*static_cast<PyStatement*>(actual_.get()));
    if (PyErr_Occurred()) PyErr_Clear();
  }
  if (owner && shape != Shape::prepare) note_status(owner.get(), tag_);
  PyObject* result = take_result();
  if (!result) error_ = take_error();
  l->finished(*this);
  if (result) {
    succeed(result);
  } else {
    fail(std::move(error_));
  }
}

void Request::on_lost(Session&, const Failure& why) noexcept {
  link = nullptr;
  if (abandoned()) {
    drop();
  } else {
    fail(failure_error(why, true, false));
  }
}

// ---------------------------------------------------------------- errors

Ref server_error(const std::vector<std::pair<char, std::string>>& fields, PyObject* sql) {
  Ref dict(PyDict_New());
  if (!dict) return take_error();
  std::string message;
  for (const auto& [code, value] : fields) {
    char key[2] = {code, 0};
    Ref text(to_str(value));
    if (!text || PyDict_SetItemString(dict.get(), key, text.get()) != 0) return take_error();
    if (code == 'M') message = value;
  }
  if (!errors.factory) return make_error(PyExc_RuntimeError, message);
  Ref error(PyObject_CallFunctionObjArgs(errors.factory, dict.get(), sql ? sql : Py_None, nullptr));
  if (!error) return take_error();
  if (!PyExceptionInstance_Check(error.get()))
    return make_error(PyExc_TypeError, "the error factory made no exception");
  return error;
}

Ref failure_error(const Failure& why, bool lost, bool safe_to_retry) {
  if (!why.fields.empty()) {
    Ref error = server_error(why.fields, nullptr);
    if (error && lost) {
      PyObject_SetAttrString(error.get(), "safe_to_retry", safe_to_retry ? Py_True : Py_False);
      PyErr_Clear();
    }
    return error;
  }
  PyObject* type = errors.connection_lost;
  switch (why.kind) {
    case Failure::Kind::connect:
    case Failure::Kind::tls: type = lost ? errors.connection_lost : errors.cannot_connect; break;
    case Failure::Kind::timeout: type = errors.timeout; break;
    case Failure::Kind::authentication: type = errors.authentication; break;
    case Failure::Kind::protocol: type = errors.protocol; break;
    case Failure::Kind::mismatch: type = errors.target; break;
    case Failure::Kind::closed: type = errors.connection_missing; break;
    default: break;
  }
  Ref error = make_error(type, why.message);
  if (error) {
    PyObject_SetAttrString(error.get(), "safe_to_retry", safe_to_retry ? Py_True : Py_False);
    PyErr_Clear();
  }
  return error;
}

}  // namespace fasterapi::pg::py
