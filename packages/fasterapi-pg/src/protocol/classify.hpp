#pragma once
// What a SQL text may do to its session, judged from the text alone, conservatively.
//   Cost     one pass over the text, once per statement (comments, strings and quoted names are skipped)
//   Promise  `shared` is only said of a single SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES or WITH that names
//            no function known to leave something behind in the session. What a user's own function does
//            cannot be seen from here.
#include <string_view>

namespace fasterapi::pg {

enum class StatementClass {
  shared,       // free of session effects: may run beside others on one connection
  transaction,  // BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ...: needs a lease, leaves nothing behind
  exclusive,    // needs a lease; the session is reset before others get it
};

StatementClass classify(std::string_view sql) noexcept;

/// True when the first word of a command tag can belong to a statement classified as shared.
bool shared_tag(std::string_view tag) noexcept;

}  // namespace fasterapi::pg
