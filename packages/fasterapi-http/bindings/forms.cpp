// The form parsers for Python: pieces in, lists of events out, so that a piece is one call.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <stdexcept>

#include <fasterapi/http/form.hpp>

#include "common.hpp"

namespace nb = nanobind;

namespace fasterapi::http::py {
namespace {

[[noreturn]] void raise_form_error(const std::string& text) {
  PyErr_SetString(python.form_error, text.c_str());
  nb::raise_python_error();
}

nb::object utf8(std::string_view text) { return nb::steal(utf8_lossy(text)); }
nb::object bytes_of(std::string_view text) { return nb::steal(to_bytes(text)); }

FormLimits limits_of(double max_files, double max_fields, std::uint64_t max_part_size) {
  auto count = [](double value) {  // infinity is a limit that nothing reaches
    return value >= 1e18 ? UINT64_MAX : value <= 0 ? 0 : static_cast<std::uint64_t>(value);
  };
  FormLimits limits;
  limits.max_files = count(max_files);
  limits.max_fields = count(max_fields);
  limits.max_part_size = max_part_size;
  return limits;
}

/// Of a part: a file is (name, filename, headers), then bytes, then None; a field is (name, value).
nb::list feed_multipart(MultipartParser& self, nb::bytes data) {
  nb::list events;
  const char* at = data.c_str();
  std::size_t size = data.size();
  for (;;) {
    auto step = self.next(at, size);
    at += step.consumed;
    size -= step.consumed;
    switch (step.event) {
      case MultipartParser::Event::need_more: return events;
      case MultipartParser::Event::part_begin: {
        nb::list headers;
        for (const auto& [name, value] : self.headers())
          headers.append(nb::make_tuple(bytes_of(name), bytes_of(value)));
        events.append(nb::make_tuple(bytes_of(self.name()), bytes_of(self.filename()), headers));
        break;
      }
      case MultipartParser::Event::data: events.append(bytes_of(step.data)); break;
      case MultipartParser::Event::part_end: events.append(nb::none()); break;
      case MultipartParser::Event::field:
        events.append(nb::make_tuple(bytes_of(self.name()), bytes_of(self.value())));
        break;
      case MultipartParser::Event::done: break;
      case MultipartParser::Event::error: raise_form_error(self.error());
    }
  }
}

nb::list pairs_of(const std::vector<std::pair<std::string, std::string>>& pairs) {
  nb::list list;
  for (const auto& [name, value] : pairs) list.append(nb::make_tuple(utf8(name), utf8(value)));
  return list;
}

}  // namespace

void bind_forms(nb::module_& module);

void bind_forms(nb::module_& module) {
  nb::class_<MultipartParser>(module, "MultipartParser")
      .def(
          "__init__",
          [](MultipartParser* self, nb::bytes boundary, double max_files, double max_fields,
             std::uint64_t max_part_size) {
            try {
              new (self) MultipartParser({boundary.c_str(), boundary.size()},
                                         limits_of(max_files, max_fields, max_part_size));
            } catch (const std::invalid_argument& error) {
              raise_form_error(error.what());
            }
          },
          nb::arg("boundary"), nb::arg("max_files"), nb::arg("max_fields"), nb::arg("max_part_size"))
      .def("feed", &feed_multipart, nb::arg("data"))
      .def_prop_ro("done", &MultipartParser::done);
  nb::class_<UrlencodedParser>(module, "UrlencodedParser")
      .def(
          "__init__",
          [](UrlencodedParser* self, double max_fields, std::uint64_t max_part_size) {
            new (self) UrlencodedParser(limits_of(0, max_fields, max_part_size));
          },
          nb::arg("max_fields"), nb::arg("max_part_size"))
      .def(
          "feed",
          [](UrlencodedParser& self, nb::bytes data) {
            std::vector<std::pair<std::string, std::string>> out;
            if (!self.feed({data.c_str(), data.size()}, out)) raise_form_error(self.error());
            return pairs_of(out);
          },
          nb::arg("data"))
      .def("finish", [](UrlencodedParser& self) {
        std::vector<std::pair<std::string, std::string>> out;
        if (!self.finish(out)) raise_form_error(self.error());
        return pairs_of(out);
      });
  module.def(
      "parse_parameters",
      [](nb::bytes field) {
        FieldParameters parsed = parse_parameters({field.c_str(), field.size()});
        nb::dict parameters;
        for (const auto& [name, value] : parsed.parameters) parameters[utf8(name)] = utf8(value);
        return nb::make_tuple(utf8(parsed.value), parameters);
      },
      nb::arg("field"));
}

}  // namespace fasterapi::http::py
