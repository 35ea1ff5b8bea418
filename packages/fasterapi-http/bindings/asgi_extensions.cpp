// Messages beyond the HTTP part of ASGI: early hints, files by path or descriptor, trailers.
#include <Python.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string_view>

#include "asgi_exchange.hpp"

namespace fasterapi::http::py {
namespace {

PyObject* os_error(int error, PyObject* path) noexcept {
  errno = error;
  return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
}

void close_file(void* descriptor) noexcept {
  ::close(static_cast<int>(reinterpret_cast<std::intptr_t>(descriptor)));
}

/// Takes the descriptor.
core::StreamSource file_source(int descriptor, std::uint64_t offset, std::uint64_t size) noexcept {
  core::StreamSource source;
  source.file = descriptor;
  source.offset = offset;
  source.size = size;
  source.release = &close_file;
  source.arg = reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor));
  return source;
}

/// A length that the message gives: -1 when it gives none, -2 with an exception set.
std::int64_t length_item(PyObject* message, PyObject* key) noexcept {
  PyObject* value = item(message, key);
  if (!value) return PyErr_Occurred() ? -2 : -1;
  if (value == Py_None) return -1;
  long long number = PyLong_AsLongLong(value);
  if (number >= 0) return number;
  if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "'%U' must not be negative", key);
  return -2;
}

/// Sends a piece of a file as a body event; takes the descriptor.
PyObject* send_piece(Exchange* self, int descriptor, std::uint64_t offset, std::uint64_t size,
                     bool more) noexcept {
  Transaction& tx = *self->tx;
  const bool silent = tx.head_only() || !status_has_body(self->head->status);
  if (!silent && self->length >= 0) {
    auto announced = static_cast<std::uint64_t>(self->length);
    const bool longer = size > announced - self->sent;
    if (longer || (!more && self->sent + size < announced)) {
      ::close(descriptor);
      if (tx.started()) tx.abort();
      return length_error(longer);
    }
  }
  self->sent += size;
  if (!tx.started()) {
    if (self->close) tx.close_after();
    if (!begin_stream(self, true)) {
      ::close(descriptor);
      return nullptr;
    }
  }
  const bool roomy = tx.write_from(file_source(descriptor, offset, silent ? 0 : size));
  return after_piece(self, roomy, more);
}

/// RFC 9110 section 6.5.1: fields that frame, route, authenticate or describe the body have no place in trailers.
bool allowed_in_trailers(std::string_view name) noexcept {
  static constexpr std::string_view kRefused[] = {"transfer-encoding",
                                                  "content-length",
                                                  "host",
                                                  "trailer",
                                                  "te",
                                                  "connection",
                                                  "keep-alive",
                                                  "upgrade",
                                                  "content-type",
                                                  "content-encoding",
                                                  "content-range",
                                                  "content-language",
                                                  "cache-control",
                                                  "expires",
                                                  "date",
                                                  "vary",
                                                  "set-cookie",
                                                  "authorization",
                                                  "www-authenticate",
                                                  "proxy-authenticate",
                                                  "location",
                                                  "retry-after",
                                                  "age"};
  return std::none_of(std::begin(kRefused), std::end(kRefused),
                      [&](std::string_view refused) { return equals_lower(name, refused); });
}

bool add_trailers(Exchange* self, PyObject* headers) {
  Ref list(PySequence_Fast(headers, "'headers' must be a list of (name, value) pairs"));
  if (!list) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i) {
    Ref pair(PySequence_Fast(PySequence_Fast_GET_ITEM(list.get(), i), "a header is a (name, value) pair"));
    if (!pair) return false;
    if (PySequence_Fast_GET_SIZE(pair.get()) != 2 || !PyBytes_Check(PySequence_Fast_GET_ITEM(pair.get(), 0)) ||
        !PyBytes_Check(PySequence_Fast_GET_ITEM(pair.get(), 1))) {
      PyErr_SetString(PyExc_TypeError, "a header is a pair of bytes");
      return false;
    }
    std::string_view name = bytes_view(PySequence_Fast_GET_ITEM(pair.get(), 0));
    std::string_view value = bytes_view(PySequence_Fast_GET_ITEM(pair.get(), 1));
    if (!valid_field_name(name) || !valid_field_value(value)) {
      PyErr_SetString(PyExc_ValueError, "a trailer has a name or value that HTTP does not allow");
      return false;
    }
    if (!allowed_in_trailers(name)) {
      PyErr_Format(PyExc_ValueError, "'%.100s' is not allowed in trailers (RFC 9110 section 6.5.1)",
                   std::string(name).c_str());
      return false;
    }
    self->trailers->emplace_back(name, value);
  }
  return true;
}

}  // namespace

PyObject* send_early_hint(Exchange* self, PyObject* message) noexcept {
  PyObject* links = item(message, names.links);
  if (!links && PyErr_Occurred()) return nullptr;
  Ref list(links ? PySequence_Fast(links, "'links' must be a list of bytes") : PyTuple_New(0));
  if (!list) return nullptr;
  try {
    std::vector<HeaderField> fields;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i) {
      PyObject* link = PySequence_Fast_GET_ITEM(list.get(), i);
      if (!PyBytes_Check(link)) {
        PyErr_Format(PyExc_TypeError, "a link is bytes, not %.100s", Py_TYPE(link)->tp_name);
        return nullptr;
      }
      if (!valid_field_value(bytes_view(link))) {
        PyErr_SetString(PyExc_ValueError, "a link must not contain control characters");
        return nullptr;
      }
      fields.push_back({"link", bytes_view(link)});
    }
    if (!fields.empty()) self->tx->inform(103, fields);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  return ready(Py_NewRef(Py_None));
}

PyObject* send_path(Exchange* self, PyObject* message) noexcept {
  PyObject* path = item(message, names.path);
  if (!path) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_KeyError, "path");
    return nullptr;
  }
  PyObject* converted = nullptr;
  if (!PyUnicode_FSConverter(path, &converted)) return nullptr;
  Ref name(converted);
  // A FIFO must not hold up the loop, and a terminal not become ours.
  int descriptor = ::open(PyBytes_AS_STRING(name.get()), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return os_error(errno, path);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    int error = errno;
    ::close(descriptor);
    return os_error(error, path);
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return os_error(S_ISDIR(status.st_mode) ? EISDIR : EINVAL, path);
  }
  auto size = static_cast<std::uint64_t>(status.st_size);
  if (self->length < 0 && !self->tx->started()) self->length = status.st_size;
  // A file that has grown since its length was announced is sent as it was.
  if (self->length >= 0) size = std::min(size, static_cast<std::uint64_t>(self->length));
  return send_piece(self, descriptor, 0, size, false);
}

PyObject* send_zero_copy(Exchange* self, PyObject* message) noexcept {
  PyObject* file = item(message, names.file);
  if (!file) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_KeyError, "file");
    return nullptr;
  }
  int theirs = PyObject_AsFileDescriptor(file);
  if (theirs < 0) return nullptr;
  std::int64_t offset = length_item(message, names.offset), count = length_item(message, names.count);
  if (offset == -2 || count == -2) return nullptr;
  PyObject* more_object = item(message, names.more_body);
  if (!more_object && PyErr_Occurred()) return nullptr;
  int more = more_object ? PyObject_IsTrue(more_object) : 0;
  if (more < 0) return nullptr;
  struct stat status {};
  if (::fstat(theirs, &status) != 0) return os_error(errno, nullptr);
  if (!S_ISREG(status.st_mode)) {
    PyErr_SetString(PyExc_ValueError, "http.response.zerocopysend takes regular files");
    return nullptr;
  }
  const bool moves = offset < 0;  // then it is read from where the descriptor is, which moves on
  if (moves && (offset = ::lseek(theirs, 0, SEEK_CUR)) < 0) return os_error(errno, nullptr);
  std::int64_t size = std::max<std::int64_t>(status.st_size - offset, 0);
  if (count >= 0) size = std::min(size, count);
  if (moves) ::lseek(theirs, offset + size, SEEK_SET);
  int ours = ::fcntl(theirs, F_DUPFD_CLOEXEC, 0);  // the application may close its own at once
  if (ours < 0) return os_error(errno, nullptr);
  return send_piece(self, ours, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(size), more != 0);
}

PyObject* send_trailers(Exchange* self, PyObject* message) noexcept {
  PyObject* headers = item(message, names.headers);
  if (!headers && PyErr_Occurred()) return nullptr;
  PyObject* more_object = item(message, names.more_trailers);
  if (!more_object && PyErr_Occurred()) return nullptr;
  int more = more_object ? PyObject_IsTrue(more_object) : 0;
  if (more < 0) return nullptr;
  try {
    if (headers && !add_trailers(self, headers)) return nullptr;
    if (more) return ready(Py_NewRef(Py_None));
    std::vector<HeaderField> fields;
    for (const auto& [name, value] : *self->trailers) fields.push_back({name, value});
    self->tx->finish(fields);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  self->stage = Stage::complete;
  detach(self);
  return ready(Py_NewRef(Py_None));
}

}  // namespace fasterapi::http::py
