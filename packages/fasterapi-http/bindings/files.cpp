// FileResponse on the native lane, static directories, and the range parser for what runs behind ASGI.
#include <Python.h>
#include <fcntl.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unordered_map.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include <fasterapi/http/file_answer.hpp>
#include <fasterapi/http/static_directory.hpp>

#include "plan.hpp"
#include "response.hpp"

namespace nb = nanobind;

namespace fasterapi::http::py {

bool send_file_response(Transaction& tx, PyObject* object) noexcept {
  auto* self = as_response(object);
  Ref path(PyObject_GetAttrString(object, "path"));
  Ref starlette(path ? PyObject_GetAttrString(object, "_starlette") : nullptr);
  PyObject* converted = nullptr;
  if (!starlette || !PyUnicode_FSConverter(path.get(), &converted)) return false;
  Ref name(converted);
  FileAnswer file;
  file.descriptor = ::open(PyBytes_AS_STRING(name.get()), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  struct stat status {};
  if (file.descriptor < 0 || ::fstat(file.descriptor, &status) != 0) {
    PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path.get());
    return false;
  }
  if (!S_ISREG(status.st_mode)) {
    PyErr_Format(PyExc_RuntimeError, "File at path %S is not a file.", path.get());
    return false;
  }
  try {
    std::vector<HeaderField> fields;
    append_fields(self->fields, fields);
    for (const HeaderField& field : fields) {
      if (equals_lower(field.name, "content-length") || equals_lower(field.name, "transfer-encoding") ||
          equals_lower(field.name, "connection") || equals_lower(field.name, "date") ||
          equals_lower(field.name, "accept-ranges"))
        continue;
      if (equals_lower(field.name, "content-type"))
        file.content_type = field.value;
      else if (equals_lower(field.name, "etag"))
        file.entity_tag = field.value;
      else if (equals_lower(field.name, "last-modified") && parse_http_date(field.value) != kNoDate)
        file.last_modified = parse_http_date(field.value);
      else
        file.fields.emplace_back(field.name, field.value);
    }
    if (file.content_type.empty() && self->media_type)
      file.content_type = full_media_type(as_utf8(self->media_type));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return false;
  }
  file.status = self->status_code ? self->status_code : 200;
  file.size = static_cast<std::uint64_t>(status.st_size);
  file.starlette = starlette.get() == Py_True;
  file.conditional = !file.starlette;
  Ref background = Ref::borrow(self->background);
  answer_file(tx, file);
  if (background && background.get() != Py_None) run_background(background.get());
  return true;
}

namespace {

void add_static_directory(PyServer& server, const std::string& pattern, nb::dict options) {
  StaticOptions made;
  made.directory = nb::cast<std::string>(options["directory"]);
  made.index = nb::cast<std::string>(options["index"]);
  made.not_found = nb::cast<std::string>(options["not_found"]);
  made.cache_control = nb::cast<std::string>(options["cache_control"]);
  made.follow_symlinks = nb::cast<bool>(options["follow_symlinks"]);
  made.hidden_files = nb::cast<bool>(options["hidden_files"]);
  made.precompressed = nb::cast<bool>(options["precompressed"]);
  made.media_types = nb::cast<std::unordered_map<std::string, std::string>>(options["media_types"]);
  if (server.server.frozen()) throw nb::value_error("the server's routes are frozen");
  if (!valid_field_value(made.cache_control))
    throw nb::value_error("cache_control must not contain control characters");
  std::string directory = made.directory;
  auto handler = std::make_shared<StaticDirectory>(std::move(made));
  if (int error = handler->open()) {
    errno = error;
    PyErr_SetFromErrnoWithFilename(PyExc_OSError, directory.c_str());
    nb::raise_python_error();
  }
  constexpr std::string_view kMethods[] = {"GET", "HEAD"};
  if (RouteError error = server.server.add_route(kMethods, pattern, std::move(handler))) {
    PyErr_SetString(error.conflict ? python.route_conflict : PyExc_ValueError, error.text.c_str());
    nb::raise_python_error();
  }
}

/// None: to be ignored. "malformed", "unsatisfiable", or a list of (first, end).
nb::object ranges_of(nb::bytes field, std::uint64_t size, std::size_t max_ranges) {
  std::vector<ByteRange> ranges;
  switch (parse_ranges({field.c_str(), field.size()}, size, max_ranges, ranges)) {
    case RangeResult::ignored: return nb::none();
    case RangeResult::malformed: return nb::str("malformed");
    case RangeResult::unsatisfiable: return nb::str("unsatisfiable");
    case RangeResult::satisfiable: break;
  }
  nb::list list;
  for (const ByteRange& range : ranges) list.append(nb::make_tuple(range.first, range.end));
  return list;
}

}  // namespace

void bind_files(nb::module_& module);

void bind_files(nb::module_& module) {
  module.def("add_static_directory", &add_static_directory, nb::arg("server"), nb::arg("pattern"),
             nb::arg("options"));
  module.def("parse_ranges", &ranges_of, nb::arg("field"), nb::arg("size"), nb::arg("max_ranges"));
}

}  // namespace fasterapi::http::py
