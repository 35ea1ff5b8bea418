#include "protocol/classify.hpp"

#include <array>
#include <cstddef>

namespace fasterapi::pg {
namespace {

bool blank(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool word_start(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool word_char(char c) noexcept { return word_start(c) || (c >= '0' && c <= '9') || c == '$'; }
char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool is(std::string_view word, std::string_view lower_case) noexcept {
  if (word.size() != lower_case.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (lower(word[i]) != lower_case[i]) return false;
  }
  return true;
}
bool begins(std::string_view word, std::string_view lower_case) noexcept {
  return word.size() >= lower_case.size() && is(word.substr(0, lower_case.size()), lower_case);
}

template <std::size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& list) noexcept {
  for (std::string_view item : list) {
    if (is(word, item)) return true;
  }
  return false;
}

/// Words that bind a statement to its session or leave something in it.
bool sticky(std::string_view word) noexcept {
  static constexpr std::array<std::string_view, 7> kWords = {"set_config", "setseed", "currval",  "lastval",
                                                             "into",       "setval",  "pg_notify"};
  if (one_of(word, kWords)) return true;
  if (begins(word, "pg_advisory_") || begins(word, "pg_try_advisory_")) {
    // The _xact_ forms end with the transaction, that is with the statement.
    return word.find("xact") == std::string_view::npos && word.find("XACT") == std::string_view::npos;
  }
  return begins(word, "dblink") || begins(word, "pg_temp") || begins(word, "lo_") || begins(word, "pg_logical_") ||
         begins(word, "pg_replication_") || is(word, "pg_export_snapshot") || is(word, "pg_terminate_backend") ||
         is(word, "pg_cancel_backend") || is(word, "pg_backend_pid") || is(word, "pg_sleep") ||
         is(word, "pg_sleep_for") || is(word, "pg_sleep_until");
}

class Scanner {
 public:
  explicit Scanner(std::string_view sql) noexcept : sql_(sql) {}

  /// Next bare word; quoted names count as words too (with `quoted`). ';' gives a word ";". Empty at the end.
  std::string_view next() noexcept {
    while (at_ < sql_.size()) {
      char c = sql_[at_];
      if (blank(c)) {
        ++at_;
      } else if (c == '-' && peek(1) == '-') {
        skip_line();
      } else if (c == '/' && peek(1) == '*') {
        skip_comment();
      } else if (c == '\'') {
        skip_quoted('\'', escapes_);
        escapes_ = false;
      } else if (c == '"') {
        std::size_t from = at_ + 1;
        skip_quoted('"', false);
        std::size_t to = at_ > from ? at_ - 1 : from;
        return sql_.substr(from, to - from);
      } else if (c == '$' && skip_dollar()) {
        continue;
      } else if (c == ';') {
        return sql_.substr(at_++, 1);
      } else if (word_start(c)) {
        std::size_t from = at_;
        while (at_ < sql_.size() && word_char(sql_[at_])) ++at_;
        std::string_view word = sql_.substr(from, at_ - from);
        escapes_ = at_ < sql_.size() && sql_[at_] == '\'' && is(word, "e");
        return word;
      } else {
        ++at_;
        // A number or parameter must not be split into a word: "1e5", "$1abc".
        if ((c >= '0' && c <= '9') || c == '$') {
          while (at_ < sql_.size() && word_char(sql_[at_])) ++at_;
        }
      }
    }
    return {};
  }

 private:
  char peek(std::size_t n) const noexcept { return at_ + n < sql_.size() ? sql_[at_ + n] : '\0'; }
  void skip_line() noexcept {
    while (at_ < sql_.size() && sql_[at_] != '\n' && sql_[at_] != '\r') ++at_;
  }
  void skip_comment() noexcept {  // they nest
    std::size_t depth = 0;
    while (at_ < sql_.size()) {
      if (sql_[at_] == '/' && peek(1) == '*') {
        ++depth;
        at_ += 2;
      } else if (sql_[at_] == '*' && peek(1) == '/') {
        at_ += 2;
        if (--depth == 0) return;
      } else {
        ++at_;
      }
    }
  }
  void skip_quoted(char quote, bool escapes) noexcept {
    ++at_;
    while (at_ < sql_.size()) {
      char c = sql_[at_++];
      if (escapes && c == '\\') {
        if (at_ < sql_.size()) ++at_;
      } else if (c == quote) {
        if (at_ < sql_.size() && sql_[at_] == quote) {
          ++at_;
        } else {
          return;
        }
      }
    }
  }
  /// $tag$ ... $tag$; false when this '$' does not open one.
  bool skip_dollar() noexcept {
    std::size_t end = at_ + 1;
    if (end < sql_.size() && word_start(sql_[end])) {
      while (end < sql_.size() && word_char(sql_[end]) && sql_[end] != '$') ++end;
    }
    if (end >= sql_.size() || sql_[end] != '$') return false;
    std::string_view tag = sql_.substr(at_, end + 1 - at_);
    std::size_t close = sql_.find(tag, end + 1);
    at_ = close == std::string_view::npos ? sql_.size() : close + tag.size();
    return true;
  }
  std::string_view sql_;
  std::size_t at_ = 0;
  bool escapes_ = false;
};

}  // namespace

StatementClass classify(std::string_view sql) noexcept {
  static constexpr std::array<std::string_view, 7> kShared = {"select", "insert", "update", "delete",
                                                              "merge",  "values", "with"};
  static constexpr std::array<std::string_view, 8> kTransaction = {"begin",    "start", "commit",    "end",
                                                                   "rollback", "abort", "savepoint", "release"};
  Scanner scan(sql);
  std::string_view first = scan.next();
  if (first.empty()) return StatementClass::exclusive;
  bool shared = one_of(first, kShared);
  if (!shared && !one_of(first, kTransaction)) return StatementClass::exclusive;
  bool insert_or_merge = is(first, "insert") || is(first, "merge");
  bool with = is(first, "with");
  std::string_view before = first;
  for (std::string_view word = scan.next(); !word.empty(); word = scan.next()) {
    if (word == ";") {
      if (!scan.next().empty()) return StatementClass::exclusive;  // more than one statement
      break;
    }
    // INTO after INSERT or MERGE names the target; anywhere else it is SELECT INTO, which makes a table.
    bool target = is(word, "into") && (is(before, "insert") || is(before, "merge")) && (insert_or_merge || with);
    if (shared && !target && sticky(word)) return StatementClass::exclusive;
    // COMMIT PREPARED, ROLLBACK PREPARED, AND CHAIN: rare, and they do outlive the lease.
    if (!shared && (is(word, "prepared") || is(word, "chain"))) return StatementClass::exclusive;
    before = word;
  }
  return shared ? StatementClass::shared : StatementClass::transaction;
}

bool shared_tag(std::string_view tag) noexcept {
  std::string_view word = tag.substr(0, tag.find(' '));
  return word == "SELECT" || word == "INSERT" || word == "UPDATE" || word == "DELETE" || word == "MERGE";
}

}  // namespace fasterapi::pg
