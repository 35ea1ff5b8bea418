#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "response.hpp"

#include <cstring>

#include <fasterapi/http/server.hpp>

#include "request.hpp"

namespace fasterapi::http::py {

PyTypeObject* response_type = nullptr;

namespace {

PyTypeObject *json_type = nullptr, *text_type = nullptr, *html_type = nullptr;
PyObject *json_media = nullptr, *text_media = nullptr, *html_media = nullptr;
PyObject *media_name = nullptr, *render_name = nullptr;

int response_traverse(PyObject* object, visitproc visit, void* arg) {
  auto* self = as_response(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->background);
  Py_VISIT(self->body_iterator);
  Py_VISIT(self->dict);
  return 0;
}
int response_clear(PyObject* object) {
  auto* self = as_response(object);
  Py_CLEAR(self->body);
  Py_CLEAR(self->media_type);
  Py_CLEAR(self->fields);
  Py_CLEAR(self->background);
  Py_CLEAR(self->body_iterator);
  Py_CLEAR(self->dict);
  return 0;
}
void response_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (as_response(object)->weakrefs) PyObject_ClearWeakRefs(object);
  response_clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

// ---------------------------------------------------------------- content

PyObject* render_plain(PyObject* content) {
  if (content == Py_None) return PyBytes_FromStringAndSize(nullptr, 0);
  if (PyBytes_Check(content)) return Py_NewRef(content);
  if (PyUnicode_Check(content)) return PyUnicode_AsUTF8String(content);
  if (PyObject_CheckBuffer(content)) return PyBytes_FromObject(content);
  PyErr_Format(PyExc_TypeError, "response content must be str, bytes or None, not %.80s",
               Py_TYPE(content)->tp_name);
  return nullptr;
}
PyObject* render_json(PyObject* content) {
  core::OutBuffer out;
  if (encode_json(content, out) < 0) return nullptr;
  return to_bytes(out.view());
}
PyObject* response_render(PyObject*, PyObject* content) { return render_plain(content); }
PyObject* json_render(PyObject*, PyObject* content) { return render_json(content); }

int ensure_fields(ResponseObject* self) {
  if (!self->fields) self->fields = PyList_New(0);
  return self->fields ? 0 : -1;
}

int add_mapping(ResponseObject* self, PyObject* headers) {
  if (ensure_fields(self) < 0) return -1;
  Ref items(PyMapping_Items(headers));
  if (!items) return -1;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
    PyObject* item = PyList_GET_ITEM(items.get(), i);
    Ref pair(PyTuple_Check(item) && PyTuple_GET_SIZE(item) == 2
                 ? checked_header_pair(PyTuple_GET_ITEM(item, 0), PyTuple_GET_ITEM(item, 1))
                 : nullptr);
    if (!pair || PyList_Append(self->fields, pair.get()) < 0) return -1;
  }
  return 0;
}

int response_init(PyObject* object, PyObject* args, PyObject* kwargs) {
  auto* self = as_response(object);
  static const char* names[] = {"content", "status_code", "headers", "media_type", "background", nullptr};
  PyObject *content = Py_None, *headers = Py_None, *media_type = Py_None, *background = Py_None;
  int status = 200;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OiOOO:Response", const_cast<char**>(names), &content, &status,
                                   &headers, &media_type, &background))
    return -1;
  if (status < 100 || status > 999) {
    PyErr_Format(PyExc_ValueError, "status_code must be between 100 and 999, not %d", status);
    return -1;
  }
  self->status_code = status;
  Py_XSETREF(self->background, background == Py_None ? nullptr : Py_NewRef(background));
  PyTypeObject* type = Py_TYPE(object);
  PyObject* body;
  if (type == json_type)
    body = render_json(content);
  else if (type == response_type || type == text_type || type == html_type)
    body = render_plain(content);
  else
    body = PyObject_CallMethodOneArg(object, render_name, content);
  if (!body) return -1;
  if (!PyBytes_Check(body)) {
    Py_SETREF(body, PyBytes_FromObject(body));
    if (!body) return -1;
  }
  Py_XSETREF(self->body, body);
  if (media_type != Py_None) {
    if (!PyUnicode_Check(media_type)) {
      PyErr_SetString(PyExc_TypeError, "media_type must be str");
      return -1;
    }
    if (!valid_field_value(as_utf8(media_type))) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "media_type must not contain control characters");
      return -1;
    }
    if (PyObject_GenericSetAttr(object, media_name, media_type) < 0) return -1;
    Py_XSETREF(self->media_type, Py_NewRef(media_type));
  } else if (!self->media_type) {
    if (type == json_type)
      self->media_type = Py_NewRef(json_media);
    else if (type == text_type)
      self->media_type = Py_NewRef(text_media);
    else if (type == html_type)
      self->media_type = Py_NewRef(html_media);
    else if (type != response_type) {
      Ref inherited(PyObject_GetAttr(object, media_name));
      if (!inherited) return -1;
      if (PyUnicode_Check(inherited.get())) self->media_type = inherited.release();
    }
  }
  Py_CLEAR(self->fields);
  self->populated = false;
  if (headers != Py_None && add_mapping(self, headers) < 0) return -1;
  return 0;
}

bool has_field(PyObject* list, std::string_view lower) {
  for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); ++i)
    if (equals_lower(bytes_view(PyTuple_GET_ITEM(PyList_GET_ITEM(list, i), 0)), lower)) return true;
  return false;
}

int append_field(PyObject* list, std::string_view name, std::string_view value) {
  Ref pair(Py_BuildValue("(y#y#)", name.data(), static_cast<Py_ssize_t>(name.size()), value.data(),
                         static_cast<Py_ssize_t>(value.size())));
  return pair ? PyList_Append(list, pair.get()) : -1;
}

/// Puts content-length and content-type among the fields, as Starlette has them.
int populate(ResponseObject* self) {
  if (self->populated) return 0;
  if (ensure_fields(self) < 0) return -1;
  self->populated = true;
  int status = self->status_code ? self->status_code : 200;
  if (self->body && !self->body_iterator && status_has_body(status) &&
      !has_field(self->fields, "content-length")) {
    std::string size = std::to_string(PyBytes_GET_SIZE(self->body));
    if (append_field(self->fields, "content-length", size) < 0) return -1;
  }
  if (self->media_type && !has_field(self->fields, "content-type")) {
    std::string_view media = as_utf8(self->media_type);
    if (!media.data() || append_field(self->fields, "content-type", full_media_type(media)) < 0) return -1;
  }
  return 0;
}

// ---------------------------------------------------------------- attributes

PyObject* get_headers(PyObject* object, void*) {
  auto* self = as_response(object);
  // The injected response has no body yet: what the answer is like is decided after it was used.
  if (self->status_code == 0 && !self->body ? ensure_fields(self) < 0 : populate(self) < 0) return nullptr;
  return make_mutable_headers(self->fields);
}
PyObject* get_raw_headers(PyObject* object, void*) {
  auto* self = as_response(object);
  if (populate(self) < 0) return nullptr;
  return Py_NewRef(self->fields);
}
int set_raw_headers(PyObject* object, PyObject* value, void*) {
  auto* self = as_response(object);
  Ref list(value ? PySequence_List(value) : nullptr);
  if (!list) return -1;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.get()); ++i) {
    Ref name(PySequence_GetItem(PyList_GET_ITEM(list.get(), i), 0));
    Ref text(PySequence_GetItem(PyList_GET_ITEM(list.get(), i), 1));
    Ref pair(name && text ? checked_header_pair(name.get(), text.get()) : nullptr);
    if (!pair) return -1;
    PyList_SetItem(list.get(), i, pair.release());
  }
  Py_XSETREF(self->fields, list.release());
  self->populated = true;
  return 0;
}
PyObject* get_status(PyObject* object, void*) {
  int status = as_response(object)->status_code;
  if (status == 0) Py_RETURN_NONE;
  return PyLong_FromLong(status);
}
int put_status(ResponseObject* self, PyObject* value) {
  if (value == Py_None) {
    self->status_code = 0;
    return 0;
  }
  long status = value ? PyLong_AsLong(value) : -1;
  if (status == -1 && PyErr_Occurred()) return -1;
  if (status < 100 || status > 999) {
    PyErr_Format(PyExc_ValueError, "status_code must be between 100 and 999, not %ld", status);
    return -1;
  }
  self->status_code = static_cast<int>(status);
  return 0;
}
int set_status(PyObject* object, PyObject* value, void*) { return put_status(as_response(object), value); }
PyObject* get_body(PyObject* object, void*) {
  auto* self = as_response(object);
  return self->body ? Py_NewRef(self->body) : PyBytes_FromStringAndSize(nullptr, 0);
}
int put_body(ResponseObject* self, PyObject* body, PyObject* media_type) {
  if (!body) return -1;
  Py_XSETREF(self->body, body);
  if (media_type) Py_XSETREF(self->media_type, Py_NewRef(media_type));
  if (self->populated && self->fields) {  // what was said about the old body does not hold any more
    for (Py_ssize_t i = PyList_GET_SIZE(self->fields); i-- > 0;) {
      std::string_view name = bytes_view(PyTuple_GET_ITEM(PyList_GET_ITEM(self->fields, i), 0));
      if ((equals_lower(name, "content-length") || (media_type && equals_lower(name, "content-type"))) &&
          PyList_SetSlice(self->fields, i, i + 1, nullptr) < 0)
        return -1;
    }
    self->populated = false;
  }
  return 0;
}
int set_body(PyObject* object, PyObject* value, void*) {
  return put_body(as_response(object), value ? render_plain(value) : nullptr, nullptr);
}

// The style of `def handler(req, res)`: each returns the response, so that calls chain.
PyObject* response_status(PyObject* object, PyObject* value) {
  return put_status(as_response(object), value) < 0 ? nullptr : Py_NewRef(object);
}
PyObject* response_json(PyObject* object, PyObject* value) {
  return put_body(as_response(object), render_json(value), json_media) < 0 ? nullptr : Py_NewRef(object);
}
PyObject* response_text(PyObject* object, PyObject* value) {
  return put_body(as_response(object), render_plain(value), text_media) < 0 ? nullptr : Py_NewRef(object);
}
PyObject* response_html(PyObject* object, PyObject* value) {
  return put_body(as_response(object), render_plain(value), html_media) < 0 ? nullptr : Py_NewRef(object);
}
PyObject* response_send(PyObject* object, PyObject* value) {
  return put_body(as_response(object), render_plain(value), nullptr) < 0 ? nullptr : Py_NewRef(object);
}
PyObject* response_header(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "header() takes a name and a value");
    return nullptr;
  }
  Ref headers(get_headers(object, nullptr));
  if (!headers || PyObject_SetItem(headers.get(), args[0], args[1]) < 0) return nullptr;
  return Py_NewRef(object);
}

PyObject* append_cookie(PyObject* object, PyObject* formatter, PyObject* args, PyObject* kwargs) {
  auto* self = as_response(object);
  Ref text(PyObject_Call(formatter, args, kwargs));
  if (!text || ensure_fields(self) < 0) return nullptr;
  Ref name(PyUnicode_FromString("set-cookie"));
  Ref pair(name ? checked_header_pair(name.get(), text.get()) : nullptr);
  if (!pair || PyList_Append(self->fields, pair.get()) < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* response_set_cookie(PyObject* object, PyObject* args, PyObject* kwargs) {
  return append_cookie(object, python.format_cookie, args, kwargs);
}
PyObject* response_delete_cookie(PyObject* object, PyObject* args, PyObject* kwargs) {
  return append_cookie(object, python.format_deletion, args, kwargs);
}

template <class Fn>
PyCFunction method(Fn fn) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fn));
}

PyMemberDef members[] = {
    {"background", T_OBJECT, offsetof(ResponseObject, background), 0, nullptr},
    {"body_iterator", T_OBJECT, offsetof(ResponseObject, body_iterator), 0, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(ResponseObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ResponseObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyGetSetDef getset[] = {
    {"headers", get_headers, nullptr, "Header fields (MutableHeaders).", nullptr},
    {"raw_headers", get_raw_headers, set_raw_headers, "Header fields as (bytes, bytes) pairs.", nullptr},
    {"status_code", get_status, set_status, "Status; None: the route's.", nullptr},
    {"body", get_body, set_body, "The body (bytes).", nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef methods[] = {
    {"render", response_render, METH_O,
     "render(content, /)\n--\n\nBytes of the content; for subclasses to override."},
    {"status", response_status, METH_O, "status(code, /)\n--\n\nSets the status and returns the response."},
    {"json", response_json, METH_O, "json(value, /)\n--\n\nSets a JSON body and returns the response."},
    {"text", response_text, METH_O, "text(value, /)\n--\n\nSets a text body and returns the response."},
    {"html", response_html, METH_O, "html(value, /)\n--\n\nSets an HTML body and returns the response."},
    {"send", response_send, METH_O,
     "send(value, /)\n--\n\nSets the body (str or bytes) and returns the response."},
    {"header", method(response_header), METH_FASTCALL,
     "header(name, value, /)\n--\n\nSets a header field and returns the response."},
    {"set_cookie", method(response_set_cookie), METH_VARARGS | METH_KEYWORDS,
     "Adds a Set-Cookie field: key, value='', max_age=None (seconds), expires=None, path='/', domain=None, "
     "secure=False, httponly=False, samesite='lax', partitioned=False."},
    {"delete_cookie", method(response_delete_cookie), METH_VARARGS | METH_KEYWORDS,
     "Tells the client to forget a cookie: key, path='/', domain=None, secure=False, httponly=False, "
     "samesite='lax'."},
    {nullptr, nullptr, 0, nullptr},
};
PyMethodDef json_methods[] = {
    {"render", json_render, METH_O, "render(content, /)\n--\n\nJSON bytes of the content."},
    {nullptr, nullptr, 0, nullptr},
};

constexpr char kDoc[] =
    "Response(content=None, status_code=200, headers=None, media_type=None, background=None)\n--\n\n"
    "An HTTP answer. `content` is str, bytes or None; `headers` a mapping; `background` is awaited after the "
    "answer.\n"
    "Raises ValueError for a status outside 100..999 and for control characters in headers.";
constexpr char kJsonDoc[] =
    "JSONResponse(content=None, status_code=200, headers=None, media_type=None, background=None)\n--\n\n"
    "An answer whose content is encoded as JSON.";
constexpr char kTextDoc[] = "An answer of plain text (UTF-8).";
constexpr char kHtmlDoc[] = "An answer of HTML (UTF-8).";

// Said again for each type: a heap type without its own dealloc gets Python's generic, slower one.
#define LIFE_SLOTS                                                    \
  {Py_tp_dealloc, reinterpret_cast<void*>(response_dealloc)},         \
      {Py_tp_traverse, reinterpret_cast<void*>(response_traverse)}, { \
    Py_tp_clear, reinterpret_cast<void*>(response_clear)              \
  }

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
    {Py_tp_init, reinterpret_cast<void*>(response_init)},
    LIFE_SLOTS,
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_tp_methods, methods},
    {Py_tp_doc, const_cast<char*>(kDoc)},
    {0, nullptr},
};
PyType_Slot json_slots[] = {
    LIFE_SLOTS, {Py_tp_methods, json_methods}, {Py_tp_doc, const_cast<char*>(kJsonDoc)}, {0, nullptr}};
PyType_Slot text_slots[] = {LIFE_SLOTS, {Py_tp_doc, const_cast<char*>(kTextDoc)}, {0, nullptr}};
PyType_Slot html_slots[] = {LIFE_SLOTS, {Py_tp_doc, const_cast<char*>(kHtmlDoc)}, {0, nullptr}};
constexpr unsigned kFlags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
PyType_Spec response_spec = {"fasterapi_http.Response", sizeof(ResponseObject), 0, kFlags, slots};
PyType_Spec json_spec = {"fasterapi_http.JSONResponse", sizeof(ResponseObject), 0, kFlags, json_slots};
PyType_Spec text_spec = {"fasterapi_http.PlainTextResponse", sizeof(ResponseObject), 0, kFlags, text_slots};
PyType_Spec html_spec = {"fasterapi_http.HTMLResponse", sizeof(ResponseObject), 0, kFlags, html_slots};

}  // namespace

// ---------------------------------------------------------------- sending

std::string full_media_type(std::string_view media_type) {
  std::string full(media_type);
  if (media_type.starts_with("text/") && media_type.find("charset=") == media_type.npos) full += "; charset=utf-8";
  return full;
}

PyObject* make_injected_response() noexcept {
  PyObject* object = PyType_GenericAlloc(response_type, 0);
  return object;
}

const HeadTemplate& HeadCache::get(const Server& server, int status, std::string_view media_type) {
  for (auto& entry : entries_)
    if (entry->status == status && entry->media_type == media_type) return entry->head;
  if (entries_.size() >= 64) entries_.clear();  // media types made up per request
  auto entry = std::make_unique<Entry>();
  entry->status = status;
  entry->media_type = media_type;
  entry->head = server.make_head(status, media_type.empty() ? media_type : full_media_type(media_type));
  entries_.push_back(std::move(entry));
  return entries_.back()->head;
}

void append_fields(PyObject* list, std::vector<HeaderField>& out) {
  for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); ++i) {
    PyObject* pair = PyList_GET_ITEM(list, i);
    out.push_back({bytes_view(PyTuple_GET_ITEM(pair, 0)), bytes_view(PyTuple_GET_ITEM(pair, 1))});
  }
}

bool send_response(Transaction& tx, PyObject* object, PyObject* merged, HeadCache& cache,
                   PyObject* server) noexcept {
  auto* self = as_response(object);
  Ref keep = Ref::borrow(object);
  Ref background = Ref::borrow(self->background == Py_None ? nullptr : self->background);
  PyObject* more = merged && merged != object ? as_response(merged)->fields : nullptr;
  if (merged && merged != object && !background && as_response(merged)->background)
    background = Ref::borrow(as_response(merged)->background);
  if (self->body_iterator && self->body_iterator != Py_None) {
    if (more) {
      if (ensure_fields(self) < 0) return false;
      Py_ssize_t size = PyList_GET_SIZE(self->fields);
      if (PyList_SetSlice(self->fields, size, size, more) < 0) return false;
    }
    return start_stream(tx, object, server);
  }
  int status = self->status_code ? self->status_code : 200;
  std::string_view media = self->media_type ? as_utf8(self->media_type) : std::string_view{};
  if (self->media_type && !media.data()) return false;
  std::string_view body = self->body ? bytes_view(self->body) : std::string_view{};
  try {
    const bool keep = self->body && PyBytes_GET_SIZE(self->body) >= kKeptBody;
    if (!self->fields && !more) {
      const HeadTemplate& head = cache.get(tx.server(), status, media);
      keep ? tx.respond_from(head, kept_bytes(self->body)) : tx.respond(head, body);
    } else {
      std::vector<HeaderField> all, fields;
      append_fields(self->fields, all);
      append_fields(more, all);
      bool typed = false;
      for (const HeaderField& field : all) {
        if (equals_lower(field.name, "content-length") || equals_lower(field.name, "transfer-encoding") ||
            equals_lower(field.name, "date"))
          continue;  // framing is ours
        if (equals_lower(field.name, "connection")) {
          if (equals_lower(field.value, "close")) tx.close_after();
          continue;
        }
        typed |= equals_lower(field.name, "content-type");
        fields.push_back(field);
      }
      std::string full = typed || media.empty() ? std::string{} : full_media_type(media);
      keep ? tx.respond_from(status, full, fields, kept_bytes(self->body))
           : tx.respond(status, full, fields, body);
    }
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return false;
  }
  if (background) run_background(background.get());
  return true;
}

bool init_response(PyObject* module) noexcept {
  json_media = PyUnicode_InternFromString("application/json");
  text_media = PyUnicode_InternFromString("text/plain");
  html_media = PyUnicode_InternFromString("text/html");
  media_name = PyUnicode_InternFromString("media_type");
  render_name = PyUnicode_InternFromString("render");
  response_type = add_type(module, response_spec);
  if (!response_type) return false;
  json_type = add_type(module, json_spec, response_type);
  text_type = add_type(module, text_spec, response_type);
  html_type = add_type(module, html_spec, response_type);
  if (!json_type || !text_type || !html_type) return false;
  auto attribute = [](PyTypeObject* type, PyObject* name, PyObject* value) {
    return PyObject_SetAttr(reinterpret_cast<PyObject*>(type), name, value) == 0;
  };
  Ref charset_name(PyUnicode_InternFromString("charset")), charset(PyUnicode_FromString("utf-8"));
  return attribute(response_type, media_name, Py_None) && attribute(json_type, media_name, json_media) &&
         attribute(text_type, media_name, text_media) && attribute(html_type, media_name, html_media) &&
         attribute(response_type, charset_name.get(), charset.get());
}

}  // namespace fasterapi::http::py
