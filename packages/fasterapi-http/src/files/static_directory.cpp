#include <fasterapi/http/static_directory.hpp>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include <fasterapi/http/file_answer.hpp>
#include <fasterapi/http/negotiate.hpp>
#include <fasterapi/http/server.hpp>
#include <fasterapi/http/uri.hpp>

namespace fasterapi::http {
namespace {

constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;  // a FIFO must not hold up the loop

/// Opens below the directory without leaving it. `links`: symbolic links within it are followed.
int open_beneath(int directory, const char* path, bool links) noexcept {
  open_how how{};
  how.flags = kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (links ? 0 : RESOLVE_NO_SYMLINKS);
  return static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof how));
}

/// The same without openat2 (kernels before 5.6, filters of containers): segment by segment, no links at all.
int walk_beneath(int directory, std::string_view path) noexcept {
  int at = ::fcntl(directory, F_DUPFD_CLOEXEC, 0);
  while (at >= 0) {
    const std::size_t slash = path.find('/');
    char name[256];
    std::string_view segment = path.substr(0, slash);
    if (segment.size() >= sizeof name) {
      ::close(at);
      errno = ENAMETOOLONG;
      return -1;
    }
    name[segment.copy(name, sizeof name)] = '\0';
    const bool last = slash == path.npos;
    const int next = ::openat(at, name, kOpenFlags | O_NOFOLLOW | (last ? 0 : O_DIRECTORY));
    const int error = errno;
    ::close(at);
    errno = error;
    if (last) return next;
    at = next;
    path.remove_prefix(slash + 1);
  }
  return -1;
}

struct Sibling {
  Coding coding;
  const char* suffix;
};
constexpr Sibling kSiblings[] = {{Coding::br, ".br"}, {Coding::zstd, ".zst"}, {Coding::gzip, ".gz"}};

}  // namespace

bool safe_static_path(std::string_view encoded, bool hidden_files, std::string& decoded) {
  decoded = percent_decoded(encoded);
  // An encoded slash is part of a name (RFC 3986 section 2.2), and no name has one.
  if (std::count(decoded.begin(), decoded.end(), '/') != std::count(encoded.begin(), encoded.end(), '/'))
    return false;
  for (unsigned char c : decoded)
    if (c < 0x20 || c == 0x7f || c == '\\') return false;
  std::string_view rest = decoded;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    std::string_view segment = rest.substr(0, slash);
    const bool last = slash == rest.npos;
    if (segment.empty() || segment == "." || segment == "..") return false;
    if (segment.front() == '.' && !hidden_files && segment != ".well-known") return false;
    if (last) break;
    rest.remove_prefix(slash + 1);
  }
  return true;
}

StaticDirectory::StaticDirectory(StaticOptions options) : options_(std::move(options)) {}

StaticDirectory::~StaticDirectory() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int StaticDirectory::open() noexcept {
  descriptor_ = ::open(options_.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  return descriptor_ < 0 ? errno : 0;
}

void StaticDirectory::handle(Transaction& tx) noexcept {
  try {
    answer(tx);
  } catch (const std::bad_alloc&) {
    tx.abort();
  }
}

/// A regular file or a directory, else -1.
int StaticDirectory::open_file(const std::string& path, struct stat& status, int& error) const noexcept {
  const char* name = path.empty() ? "." : path.c_str();
  int descriptor = open_beneath(descriptor_, name, options_.follow_symlinks);
  if (descriptor < 0 && errno == EXDEV && options_.follow_symlinks)
    descriptor = ::openat(descriptor_, name, kOpenFlags);  // a link that leads out, which is what was asked for
  if (descriptor < 0 && (errno == ENOSYS || errno == EPERM)) {
    descriptor =
        options_.follow_symlinks ? ::openat(descriptor_, name, kOpenFlags) : walk_beneath(descriptor_, name);
  }
  if (descriptor < 0) {
    error = errno;
    return -1;
  }
  if (::fstat(descriptor, &status) != 0 || (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) {
    ::close(descriptor);
    error = ENOENT;
    return -1;
  }
  return descriptor;
}

const std::string& StaticDirectory::media_type(std::string_view path) const {
  const std::size_t dot = path.rfind('.');
  if (dot == path.npos || path.find('/', dot) != path.npos) return any_type_;
  std::string suffix(path.substr(dot));
  for (char& c : suffix)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  auto found = options_.media_types.find(suffix);
  return found == options_.media_types.end() ? any_type_ : found->second;
}

/// False when there is no such file.
bool StaticDirectory::send(Transaction& tx, const std::string& path, int answer_status) {
  FileAnswer file;
  struct stat status {};
  int error = 0;
  Coding coding = Coding::identity;
  if (options_.precompressed) {
    const AcceptedCodings accepted = parse_accept_encoding(tx.head);
    Coding offered[std::size(kSiblings)];
    std::size_t count = 0;
    int opened[std::size(kSiblings)] = {-1, -1, -1};
    struct stat statuses[std::size(kSiblings)];
    for (const auto& [sibling, suffix] : kSiblings) {
      if (!accepted.weight[static_cast<unsigned>(sibling)]) continue;
      int descriptor = open_file(path + suffix, statuses[count], error);
      if (descriptor < 0) continue;
      if (!S_ISREG(statuses[count].st_mode)) {
        ::close(descriptor);
        continue;
      }
      opened[count] = descriptor;
      offered[count++] = sibling;
    }
    coding = accepted.best(std::span(offered, count));
    for (std::size_t i = 0; i < count; ++i) {
      if (offered[i] == coding) {
        file.descriptor = opened[i];
        status = statuses[i];
      } else {
        ::close(opened[i]);
      }
    }
  }
  if (file.descriptor < 0) {
    file.descriptor = open_file(path, status, error);
    if (file.descriptor < 0 || !S_ISREG(status.st_mode)) return false;
  }
  file.status = answer_status;
  file.size = static_cast<std::uint64_t>(status.st_size);
  file.content_type = media_type(path);
  if (file.content_type.starts_with("text/")) file.content_type += "; charset=utf-8";
  file.last_modified = status.st_mtim.tv_sec;
  file.entity_tag = file_entity_tag(file.size, status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec);
  if (coding != Coding::identity) file.fields.emplace_back("content-encoding", coding_name(coding));
  if (options_.precompressed) file.fields.emplace_back("vary", "accept-encoding");
  if (!options_.cache_control.empty()) file.fields.emplace_back("cache-control", options_.cache_control);
  file.fields.emplace_back("x-content-type-options", "nosniff");
  answer_file(tx, file);
  return true;
}

void StaticDirectory::answer_not_found(Transaction& tx) {
  if (options_.not_found.empty() || !send(tx, options_.not_found, 404)) tx.respond_error(404, "Not Found");
}

void StaticDirectory::answer(Transaction& tx) {
  if (tx.head.method != Method::get && tx.head.method != Method::head) {
    const HeaderField allow{"allow", "GET, HEAD"};
    return tx.respond_error(405, "Method Not Allowed", {&allow, 1});
  }
  std::string_view encoded = tx.match.capture_count ? tx.match.captures[0].view() : std::string_view{};
  std::string path;
  if (!safe_static_path(encoded, options_.hidden_files, path)) return answer_not_found(tx);
  if (path.empty() || path.back() == '/') {
    if (options_.index.empty() || !send(tx, path + options_.index, 200)) answer_not_found(tx);
    return;
  }
  if (send(tx, path, 200)) return;
  struct stat status {};
  int error = 0;
  const int descriptor = options_.index.empty() ? -1 : open_file(path + "/" + options_.index, status, error);
  if (descriptor < 0) return answer_not_found(tx);
  ::close(descriptor);
  // Relative links of the page need the slash. The path is the request's own, and cannot begin with two slashes.
  std::string location(tx.head.path());
  location += '/';
  if (tx.head.query().data()) location.append("?").append(tx.head.query());
  const HeaderField field{"location", location};
  tx.respond(308, {}, {&field, 1}, std::string_view{});
}

}  // namespace fasterapi::http
