#pragma once
// Request and SyncRequest: the Python face of a Transaction. Attributes are made when they are asked for.
//   Lifetime  a Request keeps its transaction (which owns the bytes once the handler has returned or suspended)
#include "common.hpp"

#include <fasterapi/http/transaction.hpp>

namespace fasterapi::http::py {

extern PyTypeObject* request_type;
extern PyTypeObject* sync_request_type;

/// New Request for the transaction. `server` is the Python object that keeps the native server alive.
PyObject* make_request(Transaction& transaction, PyObject* server, PyObject* app, bool sync) noexcept;
/// The transaction of a Request or SyncRequest, else nullptr (no exception).
Transaction* transaction_of(PyObject* request) noexcept;

/// ASGI scope of the transaction (https://asgi.readthedocs.io), new dict.
PyObject* build_scope(Transaction& transaction, PyObject* app) noexcept;
/// Path parameters by name, converted.
PyObject* build_path_params(const Transaction& transaction) noexcept;
/// One converted path parameter.
PyObject* capture_value(const Capture& capture) noexcept;
/// Decoded text of a path capture / of a query component.
PyObject* decoded_path_text(std::string_view text) noexcept;
PyObject* decoded_form_text(std::string_view text) noexcept;

/// First value of a cookie; false when it was not sent. The view points into the request.
bool find_cookie(const Transaction& transaction, std::string_view name, std::string_view& value) noexcept;

// headers.cpp
/// Headers view over the request; keeps `owner` alive.
PyObject* make_request_headers(Transaction& transaction, PyObject* owner) noexcept;
/// MutableHeaders over a list of (bytes, bytes) tuples; takes its own reference to the list.
PyObject* make_mutable_headers(PyObject* list) noexcept;
// query.cpp
PyObject* make_query_params(std::string_view query) noexcept;

}  // namespace fasterapi::http::py
