#pragma once
// StaticDirectory: serves the regular files below a directory.
//   Cost     openat2 and fstat per request, then sendfile; nothing is cached
//   Threads  the reactor's thread; opening a file may wait for a disk that does not have the path in memory
//   Safety   the kernel resolves each path beneath the directory: no "..", no absolute link, no other file system
//            magic leads out. Only regular files are served
#include <sys/stat.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include <fasterapi/http/transaction.hpp>

namespace fasterapi::http {

struct StaticOptions {
  std::string directory;
  std::string index = "index.html";  // for paths that end with a slash; empty: none
  std::string not_found;             // a file of the directory that goes with 404; empty: none
  std::string cache_control;         // empty: no such field
  bool follow_symlinks = false;
  bool hidden_files = false;   // whose name begins with a dot; ".well-known" is served anyway
  bool precompressed = false;  // name.br, name.zst and name.gz instead of name for who takes them
  std::unordered_map<std::string, std::string> media_types;  // by suffix with its dot, lower case
};

class StaticDirectory final : public RequestHandler {
 public:
  explicit StaticDirectory(StaticOptions options);
  ~StaticDirectory() override;
  StaticDirectory(const StaticDirectory&) = delete;
  StaticDirectory& operator=(const StaticDirectory&) = delete;

  /// Opens the directory. Returns 0 or an errno.
  int open() noexcept;
  /// The first capture of the match is the path below the directory; without one the directory itself is meant.
  void handle(Transaction& transaction) noexcept override;

 private:
  void answer(Transaction& transaction);
  bool send(Transaction& transaction, const std::string& path, int status);
  void answer_not_found(Transaction& transaction);
  int open_file(const std::string& path, struct stat& status, int& error) const noexcept;
  const std::string& media_type(std::string_view path) const;

  StaticOptions options_;
  int descriptor_ = -1;
  std::string any_type_ = "application/octet-stream";
};

/// A decoded path that may be looked for: relative, without empty, dot or dot-dot segments, backslashes or
/// control characters, its slashes all written as such. False when it is none.
bool safe_static_path(std::string_view encoded, bool hidden_files, std::string& decoded);

}  // namespace fasterapi::http
