// Handlers that call no endpoint of Python: static bytes, siblings' Endpoints, what no route takes.
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <fasterapi/http/conditional.hpp>

#include "plan.hpp"
#include "request.hpp"

namespace fasterapi::http::py {
namespace {

std::string entity_tag(std::string_view body) {
  std::uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a: a fingerprint against stale caches, not against forgers
  for (unsigned char c : body) hash = (hash ^ c) * 0x100000001b3ull;
  char text[40];
  std::snprintf(text, sizeof text, "\"%zx-%016llx\"", body.size(), static_cast<unsigned long long>(hash));
  return text;
}

class StaticHandler final : public RequestHandler {
 public:
  StaticHandler(PyServer& owner, int status, std::string_view media_type, std::string_view body,
                const std::vector<std::pair<std::string, std::string>>& extra)
      : body_(body), tag_(entity_tag(body)) {
    std::vector<HeaderField> fields;
    for (const auto& [name, value] : extra) fields.push_back({name, value});
    fields.push_back({"etag", tag_});
    head_ = owner.server.make_head(status, full_media_type(media_type), fields);
    unchanged_ = owner.server.make_head(304, {}, fields);
    conditional_ = status == 200;
  }
  void handle(Transaction& tx) noexcept override {
    if (conditional_) {
      std::string_view known = tx.head.find("if-none-match");
      if (known.data() && entity_tag_listed(known, tag_, true)) return tx.respond(unchanged_, {});
    }
    tx.respond(head_, body_);
  }

 private:
  std::string body_, tag_;
  HeadTemplate head_, unchanged_;
  bool conditional_;
};

class EndpointHandler final : public RequestHandler {
 public:
  EndpointHandler(core::Endpoint& endpoint, PyObject* capsule)
      : endpoint_(endpoint), capsule_(Ref::borrow(capsule)) {}
  void handle(Transaction& tx) noexcept override { endpoint_.handle(tx, tx); }

 private:
  core::Endpoint& endpoint_;
  Ref capsule_;  // whoever made it keeps the endpoint alive
};

class UnmatchedHandler final : public RequestHandler {
 public:
  explicit UnmatchedHandler(PyServer& owner) : owner_(owner) {}
  void handle(Transaction& tx) noexcept override {
    bool method = tx.match.kind == Match::Kind::wrong_method;
    Ref headers;
    try {
      if (method) {
        std::string allowed = owner_.server.routes().method_names(tx.match.allowed);
        headers.reset(Py_BuildValue("{s:s#}", "Allow", allowed.data(), static_cast<Py_ssize_t>(allowed.size())));
      } else {
        headers.reset(Py_NewRef(Py_None));
      }
    } catch (const std::bad_alloc&) {
      return tx.abort();
    }
    Ref exception(headers ? PyObject_CallFunction(python.http_exception, "isO", method ? 405 : 404,
                                                  method ? "Method Not Allowed" : "Not Found", headers.get())
                          : nullptr);
    if (!exception) return answer_raised(owner_, tx, nullptr);
    answer_exception(owner_, tx, nullptr, exception.get());
  }

 private:
  PyServer& owner_;
};

}  // namespace

std::shared_ptr<RequestHandler> make_static_handler(PyServer& owner, int status, std::string_view media_type,
                                                    std::string_view body,
                                                    std::vector<std::pair<std::string, std::string>> fields) {
  return std::make_shared<StaticHandler>(owner, status, media_type, body, fields);
}

std::shared_ptr<RequestHandler> make_unmatched_handler(PyServer& owner) {
  return std::make_shared<UnmatchedHandler>(owner);
}

std::shared_ptr<RequestHandler> make_endpoint_handler(PyObject* capsule, std::size_t& max_body) {
  auto* endpoint = static_cast<core::Endpoint*>(PyCapsule_GetPointer(capsule, core::kEndpointCapsule));
  if (!endpoint) return nullptr;
  max_body = endpoint->max_body();
  return std::make_shared<EndpointHandler>(*endpoint, capsule);
}

}  // namespace fasterapi::http::py
