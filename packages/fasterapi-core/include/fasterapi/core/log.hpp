#pragma once
// Log lines of native code, under the logger names that Python's `logging` knows ("fasterapi.http").
//   Cost     a line that is switched off: one relaxed load. One that its kind's limit leaves out: a clock read and
//   an
//            increment, nothing is formatted, 30 ns. One that is written: about 200 ns, no allocation
//   Threads  any thread, with or without the GIL; never waits. What cannot be taken at once is dropped and counted
//   Limits   a kind (call site, or kind()) writes one line per second, debug lines 100; what was left out is told
//            in the next one: "... (1,234 more in the last second)". Text and fields together are kMaxText bytes
//   Safety   control characters, line separators and direction marks are escaped: one record is one line
//   Levels   FASTERAPI_LOG=debug, FASTERAPI_LOG=warning,fasterapi.http=debug or set_level(); info when unset
// Usage:
//   FASTERAPI_LOG_WARNING(log::logger("fasterapi.http"), "bad request from %s: %s", client, reason);
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <fasterapi/core/export.hpp>
#include <fasterapi/core/platform.hpp>

namespace fasterapi::core::log {

/// The numbers are those of Python's logging.
enum class Level : std::uint8_t { kDebug = 10, kInfo = 20, kWarning = 30, kError = 40, kOff = 255 };

/// A name with its level. Made by logger(); lives as long as the process.
class FASTERAPI_CORE_API Logger {
 public:
  bool enabled(Level level) const noexcept { return level >= level_.load(std::memory_order_relaxed); }
  Level level() const noexcept { return level_.load(std::memory_order_relaxed); }
  const char* name() const noexcept { return name_; }
  /// Whether FASTERAPI_LOG or set_level() speak of this logger, so that no other setting should hide its lines.
  bool explicit_level() const noexcept { return explicit_.load(std::memory_order_relaxed); }

 private:
  friend struct Registry;
  char name_[48] = "";
  std::atomic<Level> level_{Level::kInfo};
  std::atomic<bool> explicit_{false};
};

/// The logger of that name (cut at 47 bytes), made when it is new. Resolve it once and keep the reference. A
/// process has at most 128; more names share the logger "fasterapi".
FASTERAPI_CORE_API Logger& logger(std::string_view name) noexcept;

inline constexpr std::size_t kMaxText = 448;

/// One line. `text` is escaped and already contains the fields as " key=value"; `fields` are the same as
/// "key\0value\0" pairs.
struct Record {
  const Logger* logger = nullptr;
  std::int64_t wall_ns = 0;  // since 1970
  Level level = Level::kInfo;
  std::uint16_t text_size = 0;
  std::uint16_t fields_size = 0;
  char buffer[kMaxText];
  std::string_view text() const noexcept { return {buffer, text_size}; }
  std::string_view fields() const noexcept { return {buffer + text_size, fields_size}; }
};

/// Limits the lines of one kind. Constant-initialised: a function-local static costs no guard.
class FASTERAPI_CORE_API Site {
 public:
  constexpr explicit Site(std::uint32_t per_second) noexcept : per_second_(per_second) {}
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  struct Admitted {
    bool write;
    std::uint64_t left_out;  // lines before this one that were not written
    std::int64_t over_ns;    // in what time
  };
  Admitted admit(std::int64_t now_ns) noexcept;
  std::uint64_t left_out() const noexcept { return left_out_.load(std::memory_order_relaxed); }

 private:
  friend struct Registry;
  static constexpr std::int64_t kNever = INT64_MIN / 2;
  const std::uint32_t per_second_;
  std::atomic<std::uint32_t> written_{0};  // in this window
  std::atomic<std::int64_t> window_{kNever};
  std::atomic<std::uint64_t> left_out_{0};
  // for write_summaries(): what the last line said
  std::atomic<bool> listed_{false};
  std::atomic<bool> busy_{false};
  Site* next_ = nullptr;
  const Logger* logger_ = nullptr;
  Level level_ = Level::kInfo;
  std::uint8_t text_size_ = 0;
  char text_[160] = "";
};

/// The limit of a kind that is not one call site, by its name ("http.header_too_large"): one line per second.
/// At most 256; more kinds share one.
FASTERAPI_CORE_API Site& kind(std::string_view id) noexcept;

/// A value beside the text: an attribute `fields` of Python's record, and " key=value" in the text.
struct Field {
  Field(const char* key, std::string_view value) noexcept : key(key), text(value) {}
  Field(const char* key, const char* value) noexcept : key(key), text(value ? value : "") {}
  template <std::integral T>
  Field(const char* key, T value) noexcept : key(key), number(static_cast<std::int64_t>(value)), is_number(true) {}
  const char* key;
  std::string_view text;
  std::int64_t number = 0;
  bool is_number = false;
};
template <class... F>
std::array<Field, sizeof...(F)> fields(const F&... values) noexcept {
  return {values...};
}

/// What the macros call. printf's formats; peer bytes may be arguments, never the format.
[[gnu::format(printf, 4, 5)]] FASTERAPI_CORE_API void write(Logger& logger, Level level, Site& site,
                                                            const char* format, ...) noexcept;
[[gnu::format(printf, 5, 6)]] FASTERAPI_CORE_API void write_fields(Logger& logger, Level level, Site& site,
                                                                   std::span<const Field> fields,
                                                                   const char* format, ...) noexcept;
/// Writes the lines that tell what was left out, of kinds whose second is over and that have not spoken since.
/// Returns how many kinds still wait for their second to end.
FASTERAPI_CORE_API std::size_t write_summaries(std::int64_t now_ns) noexcept;
/// Whether write_summaries() would have something to do, now or in a second.
FASTERAPI_CORE_API bool left_out_waiting() noexcept;

// ---- levels

/// Of the loggers named and of all below them ("fasterapi.http" rules "fasterapi.http.h2" too); the longest rule
/// wins.
FASTERAPI_CORE_API void set_level(std::string_view name, Level level) noexcept;
/// Takes FASTERAPI_LOG's form "level,name=level,...". Returns "" or what was wrong with it (the rest is applied).
FASTERAPI_CORE_API std::string configure(std::string_view text);

// ---- where lines go

/// Receives records in the thread that writes them. Must not wait, throw, or call set_sink().
class FASTERAPI_CORE_API Sink {
 public:
  virtual void write(const Record& record) noexcept = 0;
  /// A kind begins to leave lines out: somebody should call write_summaries() a second later.
  virtual void left_out() noexcept {}

 protected:
  ~Sink() = default;
};

/// Sends all lines to `sink` from now on (nullptr: to stderr, where a line that would block is dropped) and
/// returns who got them before. When it returns, no thread is inside the old one.
FASTERAPI_CORE_API Sink* set_sink(Sink* sink) noexcept;
/// Records that no sink could take, since the start.
FASTERAPI_CORE_API std::uint64_t dropped() noexcept;
FASTERAPI_CORE_API void count_dropped(std::uint64_t records = 1) noexcept;

/// A bounded lock-free ring between threads that write and whoever drains it.
class FASTERAPI_CORE_API RingSink final : public Sink {
 public:
  using Wake = void (*)(void* arg) noexcept;
  /// `wake` is called in the writer's thread after each record. Throws std::bad_alloc.
  RingSink(std::size_t capacity, Wake wake, void* arg);
  ~RingSink();
  void write(const Record& record) noexcept override;
  void left_out() noexcept override;
  /// Whether something happened since the last pop() that returned false. One load.
  bool pending() const noexcept { return pending_.load(std::memory_order_relaxed); }
  /// Next record, any thread.
  bool pop(Record& record) noexcept;
  void clear() noexcept;

 private:
  struct Ring;
  std::unique_ptr<Ring> ring_;
  std::atomic<bool> pending_{false};
  Wake wake_;
  void* arg_;
};

/// After fork() in the child: forgets writers of the parent's other threads.
FASTERAPI_CORE_API void after_fork() noexcept;

/// Copies `in` escaped into `out`, at most `capacity` bytes; an end that does not fit is replaced by "...".
/// Bytes that are not UTF-8 become \xNN. Returns the bytes written.
FASTERAPI_CORE_API std::size_t escape(std::string_view in, char* out, std::size_t capacity) noexcept;

namespace detail {
template <class T>
inline constexpr bool kPrintable =
    std::is_arithmetic_v<T> || std::is_pointer_v<T> || std::is_enum_v<T> || std::is_null_pointer_v<T>;
/// Type of a call with the arguments of a line: whether printf can take them. A std::string behind "%s" would
/// compile and print garbage.
template <class... Args>
std::bool_constant<(kPrintable<std::decay_t<Args>> && ...)> printable(const char* format, const Args&... args);
}  // namespace detail

}  // namespace fasterapi::core::log

#define FASTERAPI_LOG_CHECK(...)                                                   \
  static_assert(decltype(::fasterapi::core::log::detail::printable(__VA_ARGS__))(), \
                "log lines take what printf takes: a std::string as .c_str(), a view as %.*s")

/// A line of which at most `per_second` are written in one second.
#define FASTERAPI_LOG_RATE(logger_, level_, per_second_, ...)                               \
  do {                                                                                      \
    FASTERAPI_LOG_CHECK(__VA_ARGS__);                                                       \
    auto& fasterapi_logger = (logger_);                                                     \
    if (FASTERAPI_UNLIKELY(fasterapi_logger.enabled(level_))) {                             \
      static constinit ::fasterapi::core::log::Site fasterapi_site{per_second_};            \
      ::fasterapi::core::log::write(fasterapi_logger, level_, fasterapi_site, __VA_ARGS__); \
    }                                                                                       \
  } while (0)
/// A line with fields: FASTERAPI_LOG_FIELDS(http, log::Level::kWarning, log::fields(log::Field("client", ip)),
/// "...").
#define FASTERAPI_LOG_FIELDS(logger_, level_, fields_, ...)                                                 \
  do {                                                                                                      \
    FASTERAPI_LOG_CHECK(__VA_ARGS__);                                                                       \
    auto& fasterapi_logger = (logger_);                                                                     \
    if (FASTERAPI_UNLIKELY(fasterapi_logger.enabled(level_))) {                                             \
      static constinit ::fasterapi::core::log::Site fasterapi_site{1};                                      \
      ::fasterapi::core::log::write_fields(fasterapi_logger, level_, fasterapi_site, fields_, __VA_ARGS__); \
    }                                                                                                       \
  } while (0)
#define FASTERAPI_LOG_DEBUG(logger_, ...) \
  FASTERAPI_LOG_RATE(logger_, ::fasterapi::core::log::Level::kDebug, 100, __VA_ARGS__)
#define FASTERAPI_LOG_INFO(logger_, ...) \
  FASTERAPI_LOG_RATE(logger_, ::fasterapi::core::log::Level::kInfo, 1, __VA_ARGS__)
#define FASTERAPI_LOG_WARNING(logger_, ...) \
  FASTERAPI_LOG_RATE(logger_, ::fasterapi::core::log::Level::kWarning, 1, __VA_ARGS__)
#define FASTERAPI_LOG_ERROR(logger_, ...) \
  FASTERAPI_LOG_RATE(logger_, ::fasterapi::core::log::Level::kError, 1, __VA_ARGS__)
