// The scope of a request, after the ASGI specification (version 3.0, HTTP 2.3) and uvicorn's reading of it: `path`
// is decoded, `raw_path` and `query_string` are as sent, field names are in lower case.
#include <Python.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

#include <fasterapi/core/platform.hpp>

#include "asgi.hpp"
#include "request.hpp"
#include "tls.hpp"

namespace fasterapi::http::py {

bool AsgiNames::init() noexcept {
  if (type) return true;
  auto intern = [](PyObject*& slot, const char* text) {
    return (slot = PyUnicode_InternFromString(text)) != nullptr;
  };
  bool good =
      intern(http, "http") && intern(asgi, "asgi") && intern(http_version, "http_version") &&
      intern(method, "method") && intern(scheme, "scheme") && intern(path, "path") &&
      intern(raw_path, "raw_path") && intern(query_string, "query_string") && intern(root_path, "root_path") &&
      intern(headers, "headers") && intern(client, "client") && intern(server, "server") &&
      intern(state, "state") && intern(extensions, "extensions") && intern(status, "status") &&
      intern(body, "body") && intern(more_body, "more_body") && intern(trailers, "trailers") &&
      intern(http_request, "http.request") && intern(http_disconnect, "http.disconnect") &&
      intern(response_start, "http.response.start") && intern(response_body, "http.response.body") &&
      intern(version_10, "1.0") && intern(version_11, "1.1") && intern(https, "https") && intern(tls, "tls") &&
      intern(early_hint, "http.response.early_hint") && intern(links, "links") &&
      intern(path_send, "http.response.pathsend") && intern(zero_copy_send, "http.response.zerocopysend") &&
      intern(file, "file") && intern(offset, "offset") && intern(count, "count") &&
      intern(response_trailers, "http.response.trailers") && intern(more_trailers, "more_trailers");
  for (unsigned i = 0; good && i < kMethodCount; ++i)
    good = intern(methods[i], std::string(method_name(static_cast<Method>(i))).c_str());
  good = good && (empty_bytes = PyBytes_FromStringAndSize("", 0)) != nullptr;
  return good && intern(type, "type");
}

namespace {

constexpr std::size_t kAddresses = 512, kBlocks = 64, kMaxBlock = 2048;

/// (host, port) of one end of a socket; (path, None) for a named UNIX socket; None when there is nothing to tell.
PyObject* address_tuple(const sockaddr_storage& from, socklen_t size) noexcept {
  sockaddr_storage address = from;
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    auto& in = reinterpret_cast<sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    return Py_BuildValue("(si)", text, static_cast<int>(ntohs(in.sin_port)));
  }
  if (address.ss_family == AF_INET6) {
    auto& in = reinterpret_cast<sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
    return Py_BuildValue("(si)", text, static_cast<int>(ntohs(in.sin6_port)));
  }
  if (address.ss_family == AF_UNIX && size > offsetof(sockaddr_un, sun_path)) {
    auto& un = reinterpret_cast<sockaddr_un&>(address);
    if (un.sun_path[0]) return Py_BuildValue("(sO)", un.sun_path, Py_None);
  }
  Py_RETURN_NONE;
}

}  // namespace

ScopeBuilder::ScopeBuilder(AsgiOptions options)
    : options_(std::move(options)), addresses_(kAddresses), fields_(kBlocks) {}

bool ScopeBuilder::prepare() noexcept {
  Ref root(
      PyUnicode_FromStringAndSize(options_.root_path.data(), static_cast<Py_ssize_t>(options_.root_path.size())));
  Ref scheme(PyUnicode_InternFromString(options_.scheme.c_str()));
  root_path_bytes_.reset(to_bytes(options_.root_path));
  Ref extensions(Py_BuildValue("{O:{},O:{},O:{},O:{}}", names.response_trailers, names.early_hint, names.path_send,
                               names.zero_copy_send));
  if (!extensions) return false;
  extensions_ = std::move(extensions);
  Ref asgi(Py_BuildValue("{s:s,s:s}", "version", "3.0", "spec_version", "2.3"));
  if (!root || !scheme || !root_path_bytes_ || !asgi) return false;
  // In the order in which a reader would print them; what differs per request is put in by build().
  Ref dict(PyDict_New());
  if (!dict) return false;
  auto set = [&](PyObject* key, PyObject* value) { return PyDict_SetItem(dict.get(), key, value) == 0; };
  if (!set(names.type, names.http) || !set(names.asgi, asgi.get()) || !set(names.http_version, names.version_11) ||
      !set(names.server, Py_None) || !set(names.client, Py_None) || !set(names.scheme, scheme.get()) ||
      !set(names.method, names.methods[1]) || !set(names.root_path, root.get()) || !set(names.path, root.get()) ||
      !set(names.raw_path, names.empty_bytes) || !set(names.query_string, names.empty_bytes) ||
      !set(names.headers, Py_None) || !set(names.extensions, Py_None) || !set(names.state, Py_None))
    return false;
  template_.reset(dict.release());
  return true;
}

ScopeBuilder::Address* ScopeBuilder::address_of(Transaction& tx) {
  std::uint64_t serial = tx.connection_serial();
  Address& slot = addresses_[serial % kAddresses];
  if (FASTERAPI_LIKELY(slot.serial == serial && slot.client)) return &slot;
  int fd = tx.descriptor();
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (fd < 0 || ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) size = 0, address = {};
  std::string server_host;
  int server_port = 0;
  bool proxied = tx.proxied_server(server_host, server_port);
  if (proxied)
    slot.client.reset(Py_BuildValue("(si)", std::string(tx.client_host()).c_str(), tx.client_port()));
  else
    slot.client.reset(address_tuple(address, size));
  address = {};
  size = sizeof address;
  if (fd < 0 || ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) size = 0, address = {};
  // Nearly all connections come in at one address.
  std::string_view bytes(reinterpret_cast<const char*>(&address), size);
  if (!local_ || local_address_ != bytes) {
    local_.reset(address_tuple(address, size));
    local_address_.assign(bytes);
  }
  if (proxied)
    slot.server.reset(Py_BuildValue("(si)", server_host.c_str(), server_port));
  else
    slot.server = Ref::borrow(local_.get());
  slot.serial = serial;
  const core::TlsSession* session = tx.tls();
  slot.tls.reset(session ? tls_extension(*session) : nullptr);
  if (!slot.client || !slot.server || (session && !slot.tls)) {
    slot.client.reset();
    return nullptr;
  }
  slot.trusted = false;
  if (options_.proxy_headers) {
    std::string host;
    if (PyTuple_Check(slot.client.get())) host = as_utf8(PyTuple_GET_ITEM(slot.client.get(), 0));
    IpAddress ip{};
    slot.trusted = parse_ip(host, ip) ? options_.trusted.contains(ip)
                                      : true;  // UNIX socket: who may connect is a matter of file permissions
  }
  return &slot;
}

PyObject* ScopeBuilder::make_header_list(const RequestHead& head) {
  Ref list(PyList_New(head.field_count));
  if (!list) return nullptr;
  for (unsigned i = 0; i < head.field_count; ++i) {
    std::string_view name = head.name(i);
    Ref name_bytes;
    for (auto& [known, bytes] : known_names_) {
      if (known == name) {
        name_bytes = Ref::borrow(bytes.get());
        break;
      }
    }
    if (!name_bytes) {
      name_bytes.reset(to_lower_bytes(name));
      if (!name_bytes) return nullptr;
      if (known_names_.size() < 64 && name.size() <= 64)
        known_names_.emplace_back(name, Ref::borrow(name_bytes.get()));
    }
    Ref value(to_bytes(head.value(i)));
    PyObject* pair = value ? PyTuple_Pack(2, name_bytes.get(), value.get()) : nullptr;
    if (!pair) return nullptr;
    PyList_SET_ITEM(list.get(), i, pair);
  }
  return list.release();
}

PyObject* ScopeBuilder::header_list(const RequestHead& head) {
  // Keep-alive clients repeat their header block: the tuples are immutable and can be shared, the list is copied.
  std::size_t size = head.size() - head.fields_at();
  if (size > kMaxBlock || size < 8) return make_header_list(head);
  std::string_view block(head.fields_base(), size);
  std::uint64_t first, last;
  std::memcpy(&first, block.data(), 8);
  std::memcpy(&last, block.data() + size / 2 - 4, 8);
  std::uint64_t hash = (first ^ last * 0x9E3779B97F4A7C15ull ^ size) * 0xff51afd7ed558ccdull >> 58;
  Fields& slot = fields_[hash % kBlocks];
  if (FASTERAPI_UNLIKELY(!slot.list || slot.block != block)) {
    PyObject* list = make_header_list(head);
    if (!list) return nullptr;
    slot.block.assign(block);
    slot.list.reset(list);
  }
  return PyList_GetSlice(slot.list.get(), 0, PyList_GET_SIZE(slot.list.get()));
}

/// What a trusted peer says about its client.
bool ScopeBuilder::apply_forwarded(const Transaction& tx, PyObject* scope) {
  Forwarded told = read_forwarded(tx.head, options_.forwarded_style, options_.trusted);
  if (!told.scheme.empty()) {
    Ref text(latin1(told.scheme));
    if (!text || PyDict_SetItem(scope, names.scheme, text.get()) < 0) return false;
  }
  if (!told.client.empty()) {
    tx.set_client(told.client, told.client_port);
    Ref client(Py_BuildValue("(si)", told.client.c_str(), told.client_port));
    if (!client || PyDict_SetItem(scope, names.client, client.get()) < 0) return false;
  }
  return !options_.forwarded_host || apply_host(told, scope);
}

bool ScopeBuilder::apply_host(const Forwarded& told, PyObject* scope) {
  if (told.host.empty()) return true;
  std::size_t bracket = told.host.rfind(']'), colon = told.host.rfind(':');
  if (bracket != told.host.npos && colon != told.host.npos && colon < bracket) colon = told.host.npos;
  std::string name(told.host.substr(0, colon)), field(told.host);
  int port = told.port;
  if (colon != told.host.npos) port = std::atoi(std::string(told.host.substr(colon + 1)).c_str());
  if (colon == told.host.npos && port) field += ":" + std::to_string(port);
  if (!port) port = told.scheme == "https" ? 443 : 80;
  Ref server(Py_BuildValue("(si)", name.c_str(), port));
  Ref key(PyBytes_FromString("host")), value(to_bytes(field));
  Ref pair(key && value ? PyTuple_Pack(2, key.get(), value.get()) : nullptr);
  if (!server || !pair || PyDict_SetItem(scope, names.server, server.get()) < 0) return false;
  PyObject* list = PyDict_GetItemWithError(scope, names.headers);  // ours, nobody else has seen it
  if (!list) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); ++i)
    if (bytes_view(PyTuple_GET_ITEM(PyList_GET_ITEM(list, i), 0)) == "host")
      return PyList_SetItem(list, i, Py_NewRef(pair.get())) == 0;
  return PyList_Append(list, pair.get()) == 0;
}

PyObject* ScopeBuilder::build(Transaction& tx) noexcept {
  try {
    return make(tx);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

PyObject* ScopeBuilder::make(Transaction& tx) {
  if (FASTERAPI_UNLIKELY(!template_) && !prepare()) return nullptr;
  const RequestHead& head = tx.head;
  Ref scope(PyDict_Copy(template_.get()));
  if (!scope) return nullptr;
  PyObject* dict = scope.get();
  auto set = [dict](PyObject* key, PyObject* value) noexcept {  // steals value
    if (!value) return false;
    int error = PyDict_SetItem(dict, key, value);
    Py_DECREF(value);
    return error == 0;
  };
  Address* address = address_of(tx);
  if (!address) return nullptr;
  if (PyDict_SetItem(dict, names.client, address->client.get()) < 0 ||
      PyDict_SetItem(dict, names.server, address->server.get()) < 0)
    return nullptr;
  if (FASTERAPI_LIKELY(head.method != Method::other)) {
    if (head.method != Method::get &&
        PyDict_SetItem(dict, names.method, names.methods[static_cast<unsigned>(head.method)]) < 0)
      return nullptr;
  } else if (!set(names.method, latin1(head.method_text()))) {
    return nullptr;
  }
  if (FASTERAPI_UNLIKELY(head.minor_version == 0) &&
      PyDict_SetItem(dict, names.http_version, names.version_10) < 0)
    return nullptr;
  PyObject* path = decoded_path_text(head.path());
  PyObject* raw_path = to_bytes(head.path());
  if (FASTERAPI_UNLIKELY(!options_.root_path.empty()) && path && raw_path) {
    Ref root(PyUnicode_FromStringAndSize(options_.root_path.data(),
                                         static_cast<Py_ssize_t>(options_.root_path.size())));
    PyObject* joined = root ? PyUnicode_Concat(root.get(), path) : nullptr;
    Py_SETREF(path, joined);
    Ref tail(raw_path);
    raw_path = Py_NewRef(root_path_bytes_.get());
    PyBytes_Concat(&raw_path, tail.get());  // sets it to nullptr on failure
  }
  bool good = set(names.path, path);
  good = set(names.raw_path, raw_path) && good;
  if (!good) return nullptr;
  if (!head.query().empty() && !set(names.query_string, to_bytes(head.query()))) return nullptr;
  if (!set(names.headers, header_list(head)) || !set(names.extensions, PyDict_Copy(extensions_.get())))
    return nullptr;
  if (FASTERAPI_UNLIKELY(tx.server().secure())) {
    PyObject* extensions = PyDict_GetItemWithError(dict, names.extensions);  // borrowed
    Ref tls(address->tls ? PyDict_Copy(address->tls.get()) : PyDict_New());
    if (!extensions || !tls || PyDict_SetItem(dict, names.scheme, names.https) < 0 ||
        PyDict_SetItem(extensions, names.tls, tls.get()) < 0)
      return nullptr;
  }
  if (!set(names.state, options_.state ? PyDict_Copy(options_.state.get()) : PyDict_New())) return nullptr;
  if (FASTERAPI_UNLIKELY(address->trusted) && !apply_forwarded(tx, dict)) return nullptr;
  return scope.release();
}

}  // namespace fasterapi::http::py
