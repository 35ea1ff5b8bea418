#pragma once
// Answers whose body is a file: conditions, ranges, and the bytes by Transaction::write_from().
//   Cost     one descriptor per answer that is under way; nothing of the file is copied
//   Threads  the reactor's thread
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fasterapi/http/conditional.hpp>
#include <fasterapi/http/transaction.hpp>

namespace fasterapi::http {

struct FileAnswer {
  int descriptor = -1;  // of a regular file; taken
  std::uint64_t size = 0;
  int status = 200;                                         // any other: neither conditions nor ranges
  std::string content_type;                                 // empty: none
  std::string entity_tag;                                   // with quotes; empty: none
  std::int64_t last_modified = kNoDate;                     // seconds
  std::vector<std::pair<std::string, std::string>> fields;  // further ones; none that frame the message
  std::size_t max_ranges = 100;                             // 0: ranges are not offered
  bool conditional = true;
  bool starlette = false;  // its ways: a malformed Range is 400, HEAD answers with 206 as well

  FileAnswer() = default;
  FileAnswer(const FileAnswer&) = delete;
  FileAnswer& operator=(const FileAnswer&) = delete;
  ~FileAnswer();
};

/// Answers the request and takes the descriptor. The client sets the pace.
void answer_file(Transaction& transaction, FileAnswer& answer) noexcept;

/// "size-modification time", quoted: strong, since the time is in nanoseconds.
std::string file_entity_tag(std::uint64_t size, std::int64_t modified_ns);

}  // namespace fasterapi::http
