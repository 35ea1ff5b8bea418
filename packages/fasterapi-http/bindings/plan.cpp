#include "plan.hpp"

#include <charconv>
#include <cstring>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/http/uri.hpp>

#include "request.hpp"

namespace fasterapi::http::py {

using core::py::api;

// ---------------------------------------------------------------- a call that may suspend

/// One run of a coroutine for a transaction. While nothing has suspended it owns nothing: the connection keeps the
/// transaction, the caller the objects.
struct Call {
  enum class Stage : std::uint8_t { endpoint, slow, failure };
  PyServer* owner;
  Plan* plan;
  Transaction* tx;
  PyObject* request;   // owned, may be nullptr
  PyObject* injected;  // owned, may be nullptr
  PyObject* task;      // owned once pending
  PyObject* server;    // owned once pending
  Stage stage;
  bool pending, finished;
  Call* next;

  /// nullptr when memory has run out.
  static Call* acquire(PyServer& owner, Plan* plan, Transaction& tx, Stage stage) {
    Call* call = free_;
    if (FASTERAPI_LIKELY(call != nullptr)) {
      free_ = call->next;
    } else {
      call = new (std::nothrow) Call;
      if (!call) return nullptr;
    }
    *call = Call{&owner, plan, &tx, nullptr, nullptr, nullptr, nullptr, stage, false, false, nullptr};
    return call;
  }
  static void recycle(Call* call) {
    Py_CLEAR(call->request);
    Py_CLEAR(call->injected);
    call->next = free_;
    free_ = call;
  }

  static void run(Call* call, PyObject* callable, PyObject** args, std::size_t count) noexcept {
    PyObject* task =
        api->task_call(callable, args, count | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr, &Call::done, call);
    if (FASTERAPI_UNLIKELY(!task)) {
      if (!call->finished)
        answer_raised(*call->owner, *call->tx, call->request);
      else
        PyErr_WriteUnraisable(callable);
      return recycle(call);
    }
    if (FASTERAPI_LIKELY(call->finished)) {
      Py_DECREF(task);
      return recycle(call);
    }
    call->pending = true;
    call->task = task;
    call->server = Py_NewRef(call->owner->self);
    call->tx->retain();
    call->tx->on_disconnect(&Call::cancel, call);
    if (!call->tx->connected()) cancel(call);
  }

  static void cancel(void* arg) noexcept {
    auto* call = static_cast<Call*>(arg);
    if (api->task_cancel(call->task, nullptr) < 0) PyErr_Clear();
  }

  static void done(void* arg, PyObject* result, PyObject* exception) noexcept {
    auto* call = static_cast<Call*>(arg);
    call->finished = true;
    bool pending = call->pending;
    if (FASTERAPI_UNLIKELY(pending)) call->tx->on_disconnect(nullptr, nullptr);
    call->settle(result, exception);
    if (FASTERAPI_UNLIKELY(pending)) {
      Transaction* tx = call->tx;
      PyObject *task = call->task, *server = call->server;
      recycle(call);
      tx->release();
      Py_DECREF(task);
      Py_DECREF(server);
    }
  }

  void settle(PyObject* result, PyObject* exception) noexcept {
    if (FASTERAPI_UNLIKELY(exception != nullptr)) {
      if (stage == Stage::failure) {  // the exception handler itself failed
        Ref ignored(PyObject_CallFunctionObjArgs(python.report, request ? request : Py_None, exception, nullptr));
        if (!ignored) PyErr_WriteUnraisable(python.report);
        return tx->respond_error(500, "Internal Server Error");
      }
      if (was_cancelled(exception, task)) {  // the client left, or the loop ends: nobody's error
        tx->close_after();
        return tx->started() ? tx->abort() : tx->respond_error(503, "Service Unavailable");
      }
      return answer_exception(*owner, *tx, request, exception);
    }
    bool sent;
    if (FASTERAPI_LIKELY(plan != nullptr && stage != Stage::failure)) {
      sent = plan->answer(*tx, result, injected);
    } else if (is_response(result)) {
      sent = send_response(*tx, result, injected, owner->heads, owner->self);
    } else {
      PyErr_Format(PyExc_TypeError, "an exception handler must return a Response, not %.80s",
                   Py_TYPE(result)->tp_name);
      sent = false;
    }
    if (FASTERAPI_UNLIKELY(!sent)) {
      if (stage != Stage::failure) return answer_raised(*owner, *tx, request);
      Ref raised(core::py::take_exception());
      return settle(nullptr, raised.get());
    }
  }

 private:
  static inline Call* free_ = nullptr;
};

// ---------------------------------------------------------------- decoding

namespace {

bool parse_integer(std::string_view raw, long long& value) {
  std::size_t digits = raw.size() - (!raw.empty() && raw.front() == '-');
  if (digits < 1 || digits > 18) return false;
  auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
  return error == std::errc{} && end == raw.data() + raw.size();
}

bool parse_real(std::string_view raw, double& value) {
  if (raw.empty() || raw.size() > 32) return false;
  bool digit = false, point = false;
  for (std::size_t i = raw.front() == '-'; i < raw.size(); ++i) {
    if (raw[i] >= '0' && raw[i] <= '9')
      digit = true;
    else if (raw[i] == '.' && !point && digit)
      point = true;
    else
      return false;
  }
  if (!digit || raw.back() == '.') return false;
  auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
  return error == std::errc{} && end == raw.data() + raw.size();
}

int parse_boolean(std::string_view raw) {
  if (raw == "true" || raw == "1" || raw == "on" || raw == "yes") return 1;
  if (raw == "false" || raw == "0" || raw == "off" || raw == "no") return 0;
  return -1;
}

/// application/json and any +json subtype (RFC 6839); a body of another type is not ours to guess about.
bool is_json_type(std::string_view type) {
  std::string_view essence = type.substr(0, type.find(';'));
  while (!essence.empty() && (essence.back() == ' ' || essence.back() == '\t')) essence.remove_suffix(1);
  if (equals_lower(essence, "application/json")) return true;
  return essence.size() > 5 && equals_lower(essence.substr(essence.size() - 5), "+json");
}

PyObject* fresh_default(PyObject* value) {
  if (PyList_CheckExact(value)) return PyList_GetSlice(value, 0, PyList_GET_SIZE(value));
  if (PyDict_CheckExact(value)) return PyDict_Copy(value);
  if (PyAnySet_CheckExact(value)) return PySet_New(value);
  return Py_NewRef(value);
}

}  // namespace

Plan::Plan(PyServer& owner, PyObject* endpoint, Mode mode, std::vector<Arg> args, ResponsePlan response,
           PyObject* slow)
    : owner_(owner),
      endpoint_(Ref::borrow(endpoint)),
      mode_(mode),
      args_(std::move(args)),
      response_(std::move(response)),
      slow_(Ref::borrow(slow == Py_None ? nullptr : slow)) {
  std::vector<HeaderField> fields;
  for (const auto& [name, value] : response_.fields) fields.push_back({name, value});
  response_.media_type = full_media_type(response_.media_type);
  head_ = owner.server.make_head(response_.status, response_.media_type, fields);
}

std::string Plan::resolve() {
  auto params = owner_.server.routes().params(route);
  for (Arg& arg : args_) {
    if (arg.source != Source::path) continue;
    for (std::size_t i = 0; i < params.size(); ++i)
      if (params[i].name == arg.name) arg.capture = static_cast<int>(i);
    if (arg.capture < 0) return arg.name;
  }
  return {};
}

int Plan::traverse(visitproc visit, void* arg) {
  Py_VISIT(endpoint_.get());
  Py_VISIT(slow_.get());
  Py_VISIT(response_.callable.get());
  for (const Arg& one : args_) {
    Py_VISIT(one.callable.get());
    Py_VISIT(one.default_.get());
  }
  return 0;
}

void Plan::clear() {
  endpoint_.reset();
  slow_.reset();
  response_.callable.reset();
  for (Arg& one : args_) {
    one.callable.reset();
    one.default_.reset();
  }
}

PyObject* Plan::convert(const Arg& arg, std::string_view raw, bool form) noexcept {
  switch (arg.convert) {
    case Convert::integer: {
      long long value;
      return parse_integer(raw, value) ? PyLong_FromLongLong(value) : nullptr;
    }
    case Convert::real: {
      double value;
      return parse_real(raw, value) ? PyFloat_FromDouble(value) : nullptr;
    }
    case Convert::boolean: {
      int value = parse_boolean(raw);
      return value < 0 ? nullptr : PyBool_FromLong(value);
    }
    case Convert::callable: {
      Ref text(form ? decoded_form_text(raw) : decoded_path_text(raw));
      return text ? PyObject_CallOneArg(arg.callable.get(), text.get()) : nullptr;
    }
    default: return form ? decoded_form_text(raw) : decoded_path_text(raw);
  }
}

PyObject* Plan::decode_one(Transaction& tx, const Arg& arg) noexcept {
  switch (arg.source) {
    case Source::path:
      if (arg.capture >= 0 && arg.capture < tx.match.capture_count)
        return convert(arg, tx.match.captures[arg.capture].view(), false);
      return nullptr;
    case Source::query: {
      std::string_view found{};
      bool present = false;
      QueryPair pair;
      for (QueryReader reader(tx.head.query()); reader.next(pair);)
        if (form_equals(pair.name, arg.name)) found = pair.value, present = true;  // the last one counts
      if (present) return convert(arg, found, true);
      break;
    }
    case Source::query_list: {
      Ref list(PyList_New(0));
      if (!list) return nullptr;
      QueryPair pair;
      for (QueryReader reader(tx.head.query()); reader.next(pair);) {
        if (!form_equals(pair.name, arg.name)) continue;
        Ref item(convert(arg, pair.value, true));
        if (!item || PyList_Append(list.get(), item.get()) < 0) return nullptr;
      }
      if (PyList_GET_SIZE(list.get())) return list.release();
      break;
    }
    case Source::header: {
      std::string_view value = tx.head.find(arg.name);
      if (!value.data()) break;
      if (arg.convert == Convert::str) return latin1(value);
      if (arg.convert == Convert::callable) {
        Ref text(latin1(value));
        return text ? PyObject_CallOneArg(arg.callable.get(), text.get()) : nullptr;
      }
      return convert(arg, value, false);
    }
    case Source::cookie: {
      std::string_view value;
      if (!find_cookie(tx, arg.name, value)) break;
      if (arg.convert == Convert::str) return latin1(value);
      if (arg.convert == Convert::callable) {
        Ref text(latin1(value));
        return text ? PyObject_CallOneArg(arg.callable.get(), text.get()) : nullptr;
      }
      return convert(arg, value, false);
    }
    case Source::body_json: {
      std::string_view body = tx.body();
      if (body.empty()) break;
      if (!is_json_type(tx.head.find("content-type"))) return nullptr;
      if (arg.convert != Convert::callable) return api->json_decode(body.data(), body.size(), 0);
      Ref bytes(to_bytes(body));
      return bytes ? PyObject_CallOneArg(arg.callable.get(), bytes.get()) : nullptr;
    }
    case Source::body_bytes:
      if (tx.body().empty() && !arg.required && arg.default_) break;
      return to_bytes(tx.body());
    default: return nullptr;
  }
  if (arg.required || !arg.default_) return nullptr;
  return fresh_default(arg.default_.get());
}

bool Plan::decode(Transaction& tx, PyObject** out, PyObject** request, PyObject** injected) noexcept {
  for (std::size_t i = 0; i < args_.size(); ++i) {
    const Arg& arg = args_[i];
    PyObject* value;
    if (arg.source == Source::request) {
      if (!*request) *request = make_request(tx, owner_.self, owner_.app.get(), mode_ != Mode::async);
      value = Py_XNewRef(*request);
    } else if (arg.source == Source::response) {
      if (!*injected) *injected = make_injected_response();
      value = Py_XNewRef(*injected);
    } else {
      value = decode_one(tx, arg);
    }
    if (FASTERAPI_UNLIKELY(!value)) {
      PyErr_Clear();
      while (i-- > 0) Py_CLEAR(out[i]);
      return false;
    }
    out[i] = value;
  }
  return true;
}

// ---------------------------------------------------------------- calling

void Plan::handle(Transaction& tx) noexcept {
  PyObject* inline_args[kInlineArgs + 1];
  std::unique_ptr<PyObject*[]> many;
  PyObject** args = inline_args + 1;
  if (FASTERAPI_UNLIKELY(args_.size() > kInlineArgs)) {
    many.reset(new (std::nothrow) PyObject*[args_.size() + 1]);
    if (!many) return tx.abort();
    args = many.get() + 1;
  }
  PyObject *request = nullptr, *injected = nullptr;
  if (FASTERAPI_UNLIKELY(!decode(tx, args, &request, &injected))) {
    Py_XDECREF(request);
    Py_XDECREF(injected);
    return run_slow(tx);
  }
  if (FASTERAPI_LIKELY(mode_ == Mode::async)) {
    Call* call = Call::acquire(owner_, this, tx, Call::Stage::endpoint);
    if (FASTERAPI_LIKELY(call != nullptr)) {
      call->request = request;
      call->injected = injected;
      Call::run(call, endpoint_.get(), args, args_.size());
    } else {
      Py_XDECREF(request);
      Py_XDECREF(injected);
      tx.respond_error(503, "Out of memory");
    }
    for (std::size_t i = 0; i < args_.size(); ++i) Py_DECREF(args[i]);
    return;
  }
  if (mode_ == Mode::inline_)
    run_inline(tx, args, request, injected);
  else
    run_thread(tx, args, request, injected);
}

void Plan::run_slow(Transaction& tx) noexcept {
  Ref request(make_request(tx, owner_.self, owner_.app.get(), false));
  if (!request) return answer_raised(owner_, tx, nullptr);
  if (!slow_) {
    PyErr_SetString(PyExc_ValueError, "bad arguments");
    PyErr_Clear();
    return tx.respond_error(422, "The request's parameters or body could not be read");
  }
  Call* call = Call::acquire(owner_, this, tx, Call::Stage::slow);
  if (!call) return tx.respond_error(503, "Out of memory");
  call->request = Py_NewRef(request.get());
  PyObject* args[2] = {nullptr, request.get()};
  Call::run(call, slow_.get(), args + 1, 1);
}

void Plan::run_inline(Transaction& tx, PyObject** args, PyObject* request, PyObject* injected) noexcept {
  PyObject* context = PyContext_CopyCurrent();
  PyObject* result = nullptr;
  if (FASTERAPI_LIKELY(context != nullptr && PyContext_Enter(context) == 0)) {
    result = PyObject_Vectorcall(endpoint_.get(), args, args_.size() | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
    if (FASTERAPI_UNLIKELY(!result)) {
      Ref raised(core::py::take_exception());
      PyContext_Exit(context);
      answer_exception(owner_, tx, request, raised.get());
    } else {
      PyContext_Exit(context);
      if (FASTERAPI_UNLIKELY(!answer(tx, result, injected))) answer_raised(owner_, tx, request);
    }
  } else {
    answer_raised(owner_, tx, request);
  }
  Py_XDECREF(context);
  Py_XDECREF(result);
  for (std::size_t i = 0; i < args_.size(); ++i) Py_DECREF(args[i]);
  Py_XDECREF(request);
  Py_XDECREF(injected);
}

// ---------------------------------------------------------------- encoding

bool Plan::answer(Transaction& tx, PyObject* result, PyObject* injected) noexcept {
  if (FASTERAPI_UNLIKELY(!PyDict_CheckExact(result) && is_response(result))) {
    if (result == injected && as_response(result)->status_code == 0)
      as_response(result)->status_code = response_.status;
    return send_response(tx, result, injected, owner_.heads, owner_.self);
  }
  if (FASTERAPI_UNLIKELY(injected && result == Py_None && as_response(injected)->body)) {
    if (as_response(injected)->status_code == 0) as_response(injected)->status_code = response_.status;
    return send_response(tx, injected, nullptr, owner_.heads, owner_.self);
  }
  try {
    if (FASTERAPI_LIKELY(response_.encode == Encode::json)) {
      if (FASTERAPI_UNLIKELY(owner_.body_busy)) {  // an encoder that came back to the loop
        core::OutBuffer own;
        return encode_json(result, own) == 0 && send_encoded(tx, own.view(), injected);
      }
      owner_.body_busy = true;
      owner_.body.clear();
      bool sent = encode_json(result, owner_.body) == 0 && send_encoded(tx, owner_.body.view(), injected);
      owner_.body.clear();
      owner_.body.shrink(1 << 20);
      owner_.body_busy = false;
      return sent;
    }
    Ref made;
    if (response_.encode == Encode::callable) {
      made.reset(PyObject_CallOneArg(response_.callable.get(), result));
      if (!made) return false;
      result = made.get();
    }
    if (PyUnicode_Check(result)) {
      std::string_view text = as_utf8(result);
      return text.data() && send_encoded(tx, text, injected);
    }
    if (PyBytes_Check(result)) {
      if (FASTERAPI_UNLIKELY(PyBytes_GET_SIZE(result) >= kKeptBody) && !injected) {
        tx.respond_from(head_, kept_bytes(result));
        return true;
      }
      return send_encoded(tx, bytes_view(result), injected);
    }
    if (result == Py_None) return send_encoded(tx, {}, injected);
    Py_buffer view;
    if (PyObject_GetBuffer(result, &view, PyBUF_SIMPLE) < 0) {
      PyErr_Format(PyExc_TypeError, "this route answers with text or bytes; its handler returned %.80s",
                   Py_TYPE(result)->tp_name);
      return false;
    }
    bool sent =
        send_encoded(tx, {static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len)}, injected);
    PyBuffer_Release(&view);
    return sent;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return false;
  }
}

bool Plan::send_encoded(Transaction& tx, std::string_view body, PyObject* injected) noexcept {
  if (FASTERAPI_LIKELY(!injected || (!as_response(injected)->fields && !as_response(injected)->status_code &&
                                     !as_response(injected)->background))) {
    tx.respond(head_, body);
    return true;
  }
  try {
    std::vector<HeaderField> fields;
    for (const auto& [name, value] : response_.fields) fields.push_back({name, value});
    append_fields(as_response(injected)->fields, fields);
    std::string_view media = response_.media_type;
    std::erase_if(fields, [&](const HeaderField& field) {
      if (equals_lower(field.name, "content-type")) media = {};
      return equals_lower(field.name, "content-length") || equals_lower(field.name, "transfer-encoding") ||
             equals_lower(field.name, "connection");
    });
    int status = as_response(injected)->status_code;
    Ref background = Ref::borrow(as_response(injected)->background);
    tx.respond(status ? status : response_.status, media, fields, body);
    if (background && background.get() != Py_None) run_background(background.get());
    return true;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return false;
  }
}

// ---------------------------------------------------------------- exceptions

namespace {

bool answer_http_exception(PyServer& owner, Transaction& tx, PyObject* exception) {
  Ref status(PyObject_GetAttrString(exception, "status_code")),
      detail(PyObject_GetAttrString(exception, "detail"));
  Ref headers(PyObject_GetAttrString(exception, "headers"));
  if (!status || !detail || !headers) return false;
  long code = PyLong_AsLong(status.get());
  if (code < 100 || code > 999) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "HTTPException: status_code out of range");
    return false;
  }
  core::OutBuffer body;
  body.append("{\"detail\":");
  if (encode_json(detail.get(), body) < 0) return false;
  body.append("}");
  Ref list(PyList_New(0));
  if (!list) return false;
  if (headers.get() != Py_None) {
    Ref items(PyMapping_Items(headers.get()));
    if (!items) return false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
      PyObject* item = PyList_GET_ITEM(items.get(), i);
      Ref pair(checked_header_pair(PyTuple_GET_ITEM(item, 0), PyTuple_GET_ITEM(item, 1)));
      if (!pair || PyList_Append(list.get(), pair.get()) < 0) return false;
    }
  }
  if (PyList_GET_SIZE(list.get()) == 0) {
    tx.respond(owner.heads.get(tx.server(), static_cast<int>(code), "application/json"), body.view());
  } else {
    std::vector<HeaderField> fields;
    append_fields(list.get(), fields);
    tx.respond(static_cast<int>(code), "application/json", fields, body.view());
  }
  return true;
}

void report(PyServer& owner, PyObject* request, PyObject* exception) {
  PyObject* target = owner.on_error ? owner.on_error.get() : python.report;
  Ref ignored(PyObject_CallFunctionObjArgs(target, request ? request : Py_None, exception, nullptr));
  if (!ignored) PyErr_WriteUnraisable(target);
}

}  // namespace

void answer_exception(PyServer& owner, Transaction& tx, PyObject* request, PyObject* exception) noexcept {
  Ref keep = Ref::borrow(exception);
  if (tx.started()) {  // too late for an answer: what follows would be read as its body
    report(owner, request, exception);
    return tx.abort();
  }
  Ref made;
  if (!request) {
    made.reset(make_request(tx, owner.self, owner.app.get(), false));
    if (!made) PyErr_Clear();
    request = made.get();
  }
  if (owner.exception_handler && request) {
    PyObject* args[3] = {nullptr, request, exception};
    if (owner.exception_handler_is_async) {
      Call* call = Call::acquire(owner, nullptr, tx, Call::Stage::failure);
      if (!call) return tx.respond_error(503, "Out of memory");
      call->request = Py_NewRef(request);
      return Call::run(call, owner.exception_handler.get(), args + 1, 2);
    }
    Ref answer(
        PyObject_Vectorcall(owner.exception_handler.get(), args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    if (answer && is_response(answer.get())) {
      if (send_response(tx, answer.get(), nullptr, owner.heads, owner.self)) return;
    } else if (answer) {
      Call* call = Call::acquire(owner, nullptr, tx, Call::Stage::failure);
      if (!call) return tx.respond_error(503, "Out of memory");
      call->request = Py_NewRef(request);
      PyObject* one[2] = {nullptr, answer.get()};
      return Call::run(call, python.identity, one + 1, 1);
    }
    keep = Ref(core::py::take_exception());
    exception = keep.get();
  } else if (PyObject_TypeCheck(exception, reinterpret_cast<PyTypeObject*>(python.http_exception))) {
    try {
      if (answer_http_exception(owner, tx, exception)) return;
    } catch (const std::bad_alloc&) {
      PyErr_NoMemory();
    }
    keep = Ref(core::py::take_exception());
    exception = keep.get();
  }
  tx.respond_error(500, "Internal Server Error");
  report(owner, request, exception);
}

void answer_raised(PyServer& owner, Transaction& tx, PyObject* request) noexcept {
  Ref raised(core::py::take_exception());
  if (!raised) return tx.respond_error(500, "Internal Server Error");
  answer_exception(owner, tx, request, raised.get());
}

}  // namespace fasterapi::http::py
