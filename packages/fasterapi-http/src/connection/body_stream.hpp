#pragma once
// Transaction::BodyStream: what of a streamed request body has arrived and waits for its reader. The connection
// fills it (upload.cpp), the handler empties it through the Transaction.
#include <fasterapi/core/buffer.hpp>
#include <fasterapi/http/transaction.hpp>

namespace fasterapi::http {

struct Transaction::BodyStream {
  core::OutBuffer bytes;
  std::size_t taken = 0;  // of `bytes`, dealt with
  const ParseError* error = nullptr;
  Callback changed = nullptr;
  void* changed_arg = nullptr;
  BodyState state = BodyState::open;
  Persistence persistence = Persistence::close;  // once nothing is left that could be taken for a request
  bool collecting = false;
  bool continue_due = false;  // RFC 9110 section 10.1.1: the client waits for 100

  std::size_t waiting() const noexcept { return bytes.size() - taken; }
};

}  // namespace fasterapi::http
