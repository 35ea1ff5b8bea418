#pragma once
// Response and its native subclasses, and how an answer made of one leaves.
#include <memory>
#include <string>
#include <vector>

#include <fasterapi/http/response_head.hpp>
#include <fasterapi/http/transaction.hpp>

#include "common.hpp"

namespace fasterapi::http::py {

extern PyTypeObject* response_type;

struct ResponseObject {
  PyObject ob_base;         // PyObject_HEAD
  PyObject* body;           // bytes, or nullptr
  PyObject* media_type;     // str, or nullptr
  PyObject* fields;         // list of (bytes, bytes), or nullptr
  PyObject* background;     // awaitable callable, or nullptr
  PyObject* body_iterator;  // streamed: what is iterated, else nullptr
  PyObject* dict;
  PyObject* weakrefs;
  int status_code;  // 0: not set, the route's
  bool populated;   // `fields` holds content-type and content-length
};

inline bool is_response(PyObject* object) noexcept { return PyObject_TypeCheck(object, response_type); }
inline ResponseObject* as_response(PyObject* object) noexcept { return reinterpret_cast<ResponseObject*>(object); }

/// An empty Response without status, for handlers that take one to put headers and status on.
PyObject* make_injected_response() noexcept;

/// Heads of answers without own fields, by status and media type.
class HeadCache {
 public:
  const HeadTemplate& get(const Server& server, int status, std::string_view media_type);

 private:
  struct Entry {
    int status;
    std::string media_type;
    HeadTemplate head;
  };
  std::vector<std::unique_ptr<Entry>> entries_;
};

/// Views of a Response's own fields (or of another list of pairs), appended to `out`.
void append_fields(PyObject* list, std::vector<HeaderField>& out);

/// Sends the Response as the answer; streamed ones go on by themselves. `merged`: a Response whose fields are
/// added (may be nullptr). False with an exception set when nothing was sent.
bool send_response(Transaction& tx, PyObject* response, PyObject* merged, HeadCache& cache,
                   PyObject* server) noexcept;

/// Media type as sent: text gets its charset.
std::string full_media_type(std::string_view media_type);

/// Writes the JSON of `object` to `out`; -1 with an exception set.
inline int encode_json(PyObject* object, core::OutBuffer& out) noexcept {
  return core::py::api->json_encode(object, &out, nullptr, core::py::kJsonNone);
}

/// Answers with the file of a FileResponse (files.cpp). False with an exception set.
bool send_file_response(Transaction& tx, PyObject* response) noexcept;
/// Starts a streamed answer and the task that drives it (writer.cpp). False with an exception set.
bool start_stream(Transaction& tx, PyObject* response, PyObject* server) noexcept;
/// Whether the exception is the end of a cancellation that somebody asked the task for (a handler that awaits
/// something which was cancelled fails like any other).
bool was_cancelled(PyObject* exception, PyObject* task) noexcept;
/// Runs `response.background` after the answer.
void run_background(PyObject* background) noexcept;

PyObject* checked_header_pair(PyObject* name, PyObject* value) noexcept;

}  // namespace fasterapi::http::py
