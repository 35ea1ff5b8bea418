// ConnectConfig: keyword arguments to Options.
#define PY_SSIZE_T_CLEAN  // Python 3.11 and 3.12 refuse the # formats without it
#include <cstring>

#include "objects.hpp"

namespace fasterapi::pg::py {

PyTypeObject* config_type = nullptr;

namespace {

ConfigObject* as_config(PyObject* o) { return reinterpret_cast<ConfigObject*>(o); }

bool text(PyObject* v, std::string& out) {
  Py_ssize_t size;
  const char* s = PyUnicode_Check(v) ? PyUnicode_AsUTF8AndSize(v, &size) : nullptr;
  if (!s) {
    if (!PyErr_Occurred()) PyErr_Format(PyExc_TypeError, "expected str, got %s", Py_TYPE(v)->tp_name);
    return false;
  }
  out.assign(s, static_cast<std::size_t>(size));
  return true;
}
bool optional_text(PyObject* v, std::optional<std::string>& out) {
  if (v == Py_None) {
    out.reset();
    return true;
  }
  return text(v, out.emplace());
}
bool maybe_text(PyObject* v, std::string& out) {
  out.clear();
  return v == Py_None || text(v, out);
}

template <class Enum, std::size_t N>
bool choice(PyObject* v, const char* const (&names)[N], Enum& out) {
  std::string s;
  if (!text(v, s)) return false;
  for (std::size_t i = 0; i < N; ++i) {
    if (s == names[i]) {
      out = static_cast<Enum>(i);
      return true;
    }
  }
  PyErr_Format(PyExc_ValueError, "unknown value %R", v);
  return false;
}

bool hosts(PyObject* v, Options& o) {
  Ref list(PySequence_Fast(v, "hosts must be a sequence of (host, port)"));
  if (!list) return false;
  o.hosts.clear();
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i) {
    Ref pair(PySequence_Tuple(PySequence_Fast_GET_ITEM(list.get(), i)));
    if (!pair || PyTuple_GET_SIZE(pair.get()) != 2) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "hosts must be a sequence of (host, port)");
      return false;
    }
    Host host;
    long port = PyLong_AsLong(PyTuple_GET_ITEM(pair.get(), 1));
    if (port == -1 && PyErr_Occurred()) return false;
    if (port < 1 || port > 65535) {
      PyErr_Format(PyExc_ValueError, "invalid port %ld", port);
      return false;
    }
    host.port = static_cast<std::uint16_t>(port);
    if (!text(PyTuple_GET_ITEM(pair.get(), 0), host.name)) return false;
    o.hosts.push_back(std::move(host));
  }
  if (o.hosts.empty()) PyErr_SetString(PyExc_ValueError, "no hosts");
  return !o.hosts.empty();
}

template <class Set>
bool per_host(PyObject* v, Options& o, Set set) {
  if (v == Py_None) return true;
  Ref list(PySequence_Fast(v, "a sequence with one entry per host is expected"));
  if (!list) return false;
  if (PySequence_Fast_GET_SIZE(list.get()) != static_cast<Py_ssize_t>(o.hosts.size())) {
    PyErr_SetString(PyExc_ValueError, "one entry per host is expected");
    return false;
  }
  for (std::size_t i = 0; i < o.hosts.size(); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(list.get(), static_cast<Py_ssize_t>(i));
    if (item != Py_None && !set(o.hosts[i], item)) return false;
  }
  return true;
}

bool settings(PyObject* v, Options& o) {
  if (v == Py_None) return true;
  Ref items(PyMapping_Items(v));
  if (!items) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(items.get(), i);
    std::string name, value;
    if (!text(PyTuple_GET_ITEM(pair, 0), name) || !text(PyTuple_GET_ITEM(pair, 1), value)) return false;
    o.settings.emplace_back(std::move(name), std::move(value));
  }
  return true;
}

bool methods(PyObject* v, unsigned& out) {
  Ref list(PySequence_Fast(v, "require_auth must be a sequence of str"));
  if (!list) return false;
  static constexpr const char* kNames[] = {"none", "password", "md5", "scram-sha-256"};
  out = 0;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i) {
    unsigned bit = 0;
    if (!choice(PySequence_Fast_GET_ITEM(list.get(), i), kNames, bit)) return false;
    out |= 1u << bit;
  }
  return true;
}

bool size(PyObject* v, std::size_t& out) {
  long long n = PyLong_AsLongLong(v);
  if (n == -1 && PyErr_Occurred()) return false;
  out = n < 0 ? 0 : static_cast<std::size_t>(n);
  return true;
}
bool integer(PyObject* v, int& out) {
  long n = PyLong_AsLong(v);
  if (n == -1 && PyErr_Occurred()) return false;
  out = static_cast<int>(n);
  return true;
}
bool flag(PyObject* v, bool& out) {
  int x = PyObject_IsTrue(v);
  out = x > 0;
  return x >= 0;
}

bool set(Options& o, const char* key, PyObject* v) {
  auto is = [key](const char* name) { return std::strcmp(key, name) == 0; };
  static constexpr const char* kSsl[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
  static constexpr const char* kBinding[] = {"disable", "prefer", "require"};
  static constexpr const char* kTargets[] = {"any",     "read-write", "read-only",
                                             "primary", "standby",    "prefer-standby"};
  if (is("hosts")) return true;  // taken first
  if (is("user")) return text(v, o.user);
  if (is("database")) return text(v, o.database);
  if (is("hostaddrs")) return per_host(v, o, [](Host& h, PyObject* x) { return text(x, h.address); });
  if (is("password")) return optional_text(v, o.password);
  if (is("scram_password")) return optional_text(v, o.scram_password);
  if (is("passwords")) return per_host(v, o, [](Host& h, PyObject* x) { return text(x, h.password.emplace()); });
  if (is("sslmode")) return choice(v, kSsl, o.ssl_mode);
  if (is("direct_tls")) return flag(v, o.direct_tls);
  if (is("ssl_root_cert")) return maybe_text(v, o.tls.ca_file);
  if (is("ssl_crl")) return maybe_text(v, o.tls.crl_file);
  if (is("ssl_cert")) return maybe_text(v, o.tls.cert_file);
  if (is("ssl_key")) return maybe_text(v, o.tls.key_file);
  if (is("ssl_key_password")) return maybe_text(v, o.tls.key_password);
  if (is("ssl_min_version")) return maybe_text(v, o.tls.min_version);
  if (is("ssl_max_version")) return maybe_text(v, o.tls.max_version);
  if (is("channel_binding")) return choice(v, kBinding, o.channel_binding);
  if (is("require_auth")) return methods(v, o.require_auth);
  if (is("allow_cleartext")) return flag(v, o.allow_cleartext);
  if (is("server_settings")) return settings(v, o);
  if (is("target_session_attrs")) return choice(v, kTargets, o.target);
  if (is("load_balance_hosts")) return flag(v, o.load_balance);
  if (is("keepalives")) return flag(v, o.keepalives);
  if (is("keepalives_idle")) return integer(v, o.keepalives_idle);
  if (is("keepalives_interval")) return integer(v, o.keepalives_interval);
  if (is("keepalives_count")) return integer(v, o.keepalives_count);
  if (is("tcp_user_timeout_ms")) return integer(v, o.tcp_user_timeout_ms);
  if (is("connect_timeout")) return parse_seconds(v, 0, o.connect_timeout);
  if (is("command_timeout")) return parse_seconds(v, 0, o.command_timeout);
  if (is("statement_cache_size")) return size(v, o.statement_cache_size);
  if (is("max_cached_statement_lifetime")) return parse_seconds(v, 0, o.statement_lifetime);
  if (is("max_cacheable_statement_size")) return size(v, o.max_cacheable_statement);
  if (is("max_message_bytes")) return size(v, o.max_message);
  if (is("decode_json")) return flag(v, o.decode_json);
  PyErr_Format(PyExc_TypeError, "ConnectConfig() got an unexpected keyword argument '%s'", key);
  return false;
}

PyObject* config_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  if (PyTuple_GET_SIZE(args) || !kwargs) {
    PyErr_SetString(PyExc_TypeError, "ConnectConfig() takes keyword arguments only");
    return nullptr;
  }
  auto o = std::make_shared<Options>();
  PyObject* first = PyDict_GetItemString(kwargs, "hosts");
  for (const char* name : {"hosts", "user", "database"}) {
    if (!PyDict_GetItemString(kwargs, name)) {
      return PyErr_Format(PyExc_TypeError, "ConnectConfig() needs the keyword argument '%s'", name);
    }
  }
  if (!hosts(first, *o)) return nullptr;
  PyObject *key, *value;
  Py_ssize_t position = 0;
  while (PyDict_Next(kwargs, &position, &key, &value)) {
    const char* name = PyUnicode_AsUTF8(key);
    if (!name || !set(*o, name, value)) return nullptr;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self) as_config(self)->options = new std::shared_ptr<const Options>(std::move(o));
  return self;
}

void config_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete as_config(self)->options;
  type->tp_free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyObject* get_hosts(PyObject* self, void*) {
  const auto& list = (*as_config(self)->options)->hosts;
  Ref out(PyList_New(0));
  for (const Host& h : list) {
    Ref pair(
        Py_BuildValue("(s#i)", h.name.data(), static_cast<Py_ssize_t>(h.name.size()), static_cast<int>(h.port)));
    if (!out || !pair || PyList_Append(out.get(), pair.get()) != 0) return nullptr;
  }
  return out.release();
}
PyObject* get_user(PyObject* self, void*) { return to_str((*as_config(self)->options)->user); }
PyObject* get_database(PyObject* self, void*) { return to_str((*as_config(self)->options)->database); }
PyObject* get_timeout(PyObject* self, void*) {
  Nanos t = (*as_config(self)->options)->command_timeout;
  return t ? PyFloat_FromDouble(static_cast<double>(t) / 1e9) : Py_NewRef(Py_None);
}
PyObject* get_cache(PyObject* self, void*) {
  return PyLong_FromSize_t((*as_config(self)->options)->statement_cache_size);
}

PyGetSetDef getset[] = {{"hosts", get_hosts, nullptr, nullptr, nullptr},
                        {"user", get_user, nullptr, nullptr, nullptr},
                        {"database", get_database, nullptr, nullptr, nullptr},
                        {"command_timeout", get_timeout, nullptr, nullptr, nullptr},
                        {"statement_cache_size", get_cache, nullptr, nullptr, nullptr},
                        {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(config_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(config_dealloc)},
    {Py_tp_getset, getset},
    {Py_tp_doc, const_cast<char*>("How to reach a server and how to treat it, fully resolved.")},
    {0, nullptr}};
PyType_Spec spec = {"fasterapi_pg._pg.ConnectConfig", sizeof(ConfigObject), 0, Py_TPFLAGS_DEFAULT, slots};

}  // namespace

bool init_config(PyObject* module) {
  config_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return config_type &&
         PyModule_AddObjectRef(module, "ConnectConfig", reinterpret_cast<PyObject*>(config_type)) == 0;
}

}  // namespace fasterapi::pg::py
