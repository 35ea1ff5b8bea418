// Loggers, levels, formatting and the way to the sink.
#include <fasterapi/core/log.hpp>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>

#include <fasterapi/core/reactor.hpp>
#include <platform/standard_error.hpp>

namespace fasterapi::core::log {
namespace {

constexpr std::size_t kMaxLoggers = 128, kMaxKinds = 256, kMaxRules = 64;

std::int64_t wall_now() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

constinit std::atomic<std::uint64_t> total_dropped{0};
constinit std::atomic<bool> summaries_waiting{false};

const char* level_name(Level level) noexcept {
  switch (level) {
    case Level::kDebug: return "DEBUG";
    case Level::kInfo: return "INFO";
    case Level::kWarning: return "WARNING";
    case Level::kError: return "ERROR";
    case Level::kOff: break;
  }
  return "OFF";
}

bool parse_level(std::string_view text, Level* level) noexcept {
  static constexpr struct {
    std::string_view name;
    Level level;
  } kNames[] = {{"debug", Level::kDebug},  {"info", Level::kInfo},   {"warning", Level::kWarning},
                {"warn", Level::kWarning}, {"error", Level::kError}, {"critical", Level::kOff},
                {"off", Level::kOff}};
  for (auto& known : kNames)
    if (text.size() == known.name.size() && ::strncasecmp(text.data(), known.name.data(), text.size()) == 0) {
      *level = known.level;
      return true;
    }
  return false;
}

/// Lines on stderr.
class StderrSink final : public Sink {
 public:
  void write(const Record& record) noexcept override {
    char line[kMaxText + 128];
    using namespace std::chrono;
    const sys_time<milliseconds> when{milliseconds{record.wall_ns / 1'000'000}};
    const auto day = floor<days>(when);
    const year_month_day date{day};
    const hh_mm_ss time{when - day};
    int size = std::snprintf(line, sizeof line, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ %s %s: ",
                             static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                             static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                             static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                             static_cast<int>(time.subseconds().count()), level_name(record.level),
                             record.logger->name());
    std::memcpy(line + size, record.buffer, record.text_size);
    size += record.text_size;
    line[size++] = '\n';
    if (!write_to_stderr(line, static_cast<std::size_t>(size))) count_dropped();
  }
};

StderrSink stderr_sink;
constinit std::atomic<Sink*> current_sink{nullptr};
constinit std::atomic<int> writers{0};  // threads that are, or are about to be, inside the sink

/// Sequentially consistent on both sides: either set_sink() sees this writer, or this writer sees the new sink.
template <class Call>
void with_sink(Call call) noexcept {
  writers.fetch_add(1, std::memory_order_seq_cst);
  Sink* sink = current_sink.load(std::memory_order_seq_cst);
  call(sink ? *sink : static_cast<Sink&>(stderr_sink));
  writers.fetch_sub(1, std::memory_order_seq_cst);
}

std::size_t format_count(std::uint64_t count, char* out, std::size_t capacity) noexcept {  // 1,234
  char digits[24];
  const int n = std::snprintf(digits, sizeof digits, "%llu", static_cast<unsigned long long>(count));
  std::size_t at = 0;
  for (int i = 0; i < n && at + 1 < capacity; ++i) {
    if (i && (n - i) % 3 == 0) out[at++] = ',';
    out[at++] = digits[i];
  }
  out[at] = 0;
  return at;
}

std::size_t left_out_text(std::uint64_t count, std::int64_t over_ns, char* out, std::size_t capacity) noexcept {
  char number[32];
  format_count(count, number, sizeof number);
  const long long seconds = over_ns / 1'000'000'000;
  const int n = seconds < 2 ? std::snprintf(out, capacity, " (%s more in the last second)", number)
                            : std::snprintf(out, capacity, " (%s more in the last %lld seconds)", number, seconds);
  return static_cast<std::size_t>(n);
}

}  // namespace

/// Everything that is named. Loggers and kinds are only added, under the mutex; readers hold references.
struct Registry {
  struct Rule {
    char name[48];
    Level level;
  };
  struct Kind {
    char id[48] = "";
    Site site{1};
  };
  static constexpr std::size_t kIdSize = sizeof Kind::id;

  static Registry& get() noexcept {
    static Registry* registry = new Registry;  // outlives every static that may still log
    return *registry;
  }

  Registry() noexcept {
    add_logger("fasterapi");
    if (const char* text = std::getenv("FASTERAPI_LOG"); text && *text) environment_error = configure(text);
    // Without a driver (a plain C++ program) what was left out last is told at the end.
    std::atexit([] {
      if (!current_sink.load(std::memory_order_relaxed)) write_summaries(monotonic_now() + 1'000'000'000);
    });
  }

  Logger& add_logger(std::string_view name) noexcept {
    name = name.substr(0, sizeof Logger{}.name_ - 1);
    for (std::size_t i = 0; i < logger_count; ++i)
      if (name == loggers[i].name_) return loggers[i];
    if (logger_count == kMaxLoggers) return loggers[0];
    Logger& logger = loggers[logger_count++];
    std::memcpy(logger.name_, name.data(), name.size());
    apply(logger);
    return logger;
  }

  /// The longest rule that names the logger or one above it.
  void apply(Logger& logger) noexcept {
    const std::string_view name = logger.name_;
    std::size_t best = 0;
    for (std::size_t i = 0; i < rule_count; ++i) {
      const std::string_view rule = rules[i].name;
      const bool covers =
          rule.empty() || (name.starts_with(rule) && (name.size() == rule.size() || name[rule.size()] == '.'));
      if (!covers || rule.size() + 1 < best) continue;
      best = rule.size() + 1;
      logger.level_.store(rules[i].level, std::memory_order_relaxed);
      logger.explicit_.store(true, std::memory_order_relaxed);
    }
  }

  void set(std::string_view name, Level level) noexcept {
    name = name.substr(0, sizeof Rule{}.name - 1);
    std::size_t i = 0;
    while (i < rule_count && name != rules[i].name) ++i;
    if (i == kMaxRules) return;
    if (i == rule_count) {
      ++rule_count;
      std::memcpy(rules[i].name, name.data(), name.size());
      rules[i].name[name.size()] = 0;
    }
    rules[i].level = level;
    for (std::size_t k = 0; k < logger_count; ++k) apply(loggers[k]);
  }

  std::string configure(std::string_view text) {
    std::string wrong;
    while (!text.empty()) {
      std::string_view part = text.substr(0, text.find(','));
      text.remove_prefix(part.size() < text.size() ? part.size() + 1 : text.size());
      while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
      while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
      if (part.empty()) continue;
      const std::size_t equals = part.find('=');
      const std::string_view name = equals == part.npos ? "fasterapi" : part.substr(0, equals);
      const std::string_view value = equals == part.npos ? part : part.substr(equals + 1);
      Level level;
      if (parse_level(value, &level))
        set(name, level);
      else
        wrong += (wrong.empty() ? "" : "; ") + ("no log level '" + std::string(value)) +
                 "' (debug, info, warning, error, off)";
    }
    return wrong;
  }

  Site& kind(std::string_view id) noexcept {
    static constinit Site others{1};
    id = id.substr(0, kIdSize - 1);
    for (std::size_t i = 0; i < kind_count; ++i)
      if (id == kinds[i]->id) return kinds[i]->site;
    Kind* kind = kind_count < kMaxKinds ? new (std::nothrow) Kind : nullptr;
    if (!kind) return others;
    kinds[kind_count++] = kind;
    std::memcpy(kind->id, id.data(), id.size());
    return kind->site;
  }

  // ---- sites that left something out at least once, for write_summaries()

  void remember(Site& site, const Logger& logger, Level level, std::string_view text) noexcept {
    if (site.busy_.exchange(true, std::memory_order_acquire)) return;  // another thread does
    site.logger_ = &logger;
    site.level_ = level;
    site.text_size_ = static_cast<std::uint8_t>(escape(text, site.text_, sizeof site.text_));  // cuts, if need be
    site.busy_.store(false, std::memory_order_release);
  }

  void list(Site& site) noexcept {
    if (site.listed_.exchange(true, std::memory_order_relaxed)) return;
    Site* head = sites.load(std::memory_order_relaxed);
    do {
      site.next_ = head;
    } while (!sites.compare_exchange_weak(head, &site, std::memory_order_release, std::memory_order_relaxed));
  }

  std::size_t summaries(std::int64_t now) noexcept {
    std::size_t waiting = 0;
    for (Site* site = sites.load(std::memory_order_acquire); site; site = site->next_) {
      if (!site->left_out_.load(std::memory_order_relaxed)) continue;
      std::int64_t window = site->window_.load(std::memory_order_relaxed);
      if (now - window < 1'000'000'000) {
        ++waiting;
        continue;
      }
      // This line counts as the one of the second that begins now.
      if (!site->window_.compare_exchange_strong(window, now, std::memory_order_relaxed)) continue;
      const std::uint64_t left = site->left_out_.exchange(0, std::memory_order_relaxed);
      site->written_.store(1, std::memory_order_relaxed);
      if (!left) continue;
      Record record;
      if (site->busy_.exchange(true, std::memory_order_acquire)) {  // being rewritten: the next line tells
        site->left_out_.fetch_add(left, std::memory_order_relaxed);
        continue;
      }
      record.logger = site->logger_;
      record.level = site->level_;
      std::memcpy(record.buffer, site->text_, site->text_size_);
      record.text_size = site->text_size_;
      site->busy_.store(false, std::memory_order_release);
      if (!record.logger) continue;
      record.wall_ns = wall_now();
      record.text_size = static_cast<std::uint16_t>(
          record.text_size + left_out_text(left, now - window, record.buffer + record.text_size, 64));
      with_sink([&](Sink& sink) { sink.write(record); });
    }
    return waiting;
  }

  std::mutex mutex;  // names and rules: cold
  Logger loggers[kMaxLoggers];
  std::size_t logger_count = 0;
  Kind* kinds[kMaxKinds] = {};  // never freed: sites are referenced for good
  std::size_t kind_count = 0;
  Rule rules[kMaxRules];
  std::size_t rule_count = 0;
  std::atomic<Site*> sites{nullptr};
  std::string environment_error;
};

namespace {

/// Fills the record; returns how much of its text is the line itself, without the count.
std::size_t compose(Record& record, std::span<const Field> fields, std::uint64_t left_out, std::int64_t over_ns,
                    const char* format, va_list arguments) noexcept {
  char raw[kMaxText + 8];  // longer than any record: escape() then says that it cut
  int length = std::vsnprintf(raw, sizeof raw, format, arguments);
  if (length < 0) length = 0;
  std::string_view text(raw, std::min<std::size_t>(static_cast<std::size_t>(length), sizeof raw - 1));

  // Room: fields take at most a third, once in the text and once beside it; the count of what was left out fits.
  char packed[kMaxText / 3], tail[64];
  std::size_t packed_size = 0, shown = 0;
  for (const Field& field : fields) {
    const std::size_t key = std::strlen(field.key);
    if (packed_size + key + 2 + 24 > sizeof packed) break;  // no room for a useful value: the rest is left away
    char* out = packed + packed_size;
    std::memcpy(out, field.key, key + 1);
    std::size_t value;
    const std::size_t room = sizeof packed - packed_size - key - 2;
    if (field.is_number)
      value = static_cast<std::size_t>(
          std::snprintf(out + key + 1, room, "%lld", static_cast<long long>(field.number)));
    else
      value = escape(field.text, out + key + 1, std::min<std::size_t>(room, 96));
    out[key + 1 + value] = 0;
    packed_size += key + value + 2;
    shown += key + value + 4;
  }
  const std::size_t tail_size = left_out ? left_out_text(left_out, over_ns, tail, sizeof tail) : 0;
  const std::size_t room = kMaxText - packed_size - shown - tail_size;
  std::size_t at = escape(text, record.buffer, room);
  for (std::size_t i = 0; i < packed_size;) {
    record.buffer[at++] = ' ';
    for (; packed[i]; ++i) record.buffer[at++] = packed[i];
    record.buffer[at++] = '=';
    const std::string_view value = packed + ++i;
    const bool quoted =
        value.empty() || value.find_first_of(" =\"") != value.npos;  // a value cannot look like a field
    if (quoted) record.buffer[at++] = '"';
    for (char c : value) record.buffer[at++] = c == '"' ? '\'' : c;
    if (quoted) record.buffer[at++] = '"';
    i += value.size() + 1;
  }
  const std::size_t line = at;
  std::memcpy(record.buffer + at, tail, tail_size);
  at += tail_size;
  record.text_size = static_cast<std::uint16_t>(at);
  std::memcpy(record.buffer + at, packed, packed_size);
  record.fields_size = static_cast<std::uint16_t>(packed_size);
  return line;
}

void write_record(Logger& logger, Level level, Site& site, std::span<const Field> fields, const char* format,
                  va_list arguments) noexcept {
  const Site::Admitted admitted = site.admit(monotonic_now());
  Registry& registry = Registry::get();
  if (!admitted.write) {
    if (admitted.left_out == 1) {  // the first of its second
      registry.list(site);
      summaries_waiting.store(true, std::memory_order_release);
      with_sink([](Sink& sink) { sink.left_out(); });
    }
    return;
  }
  Record record;
  record.logger = &logger;
  record.level = level;
  record.wall_ns = wall_now();
  const std::size_t line = compose(record, fields, admitted.left_out, admitted.over_ns, format, arguments);
  registry.remember(site, logger, level, record.text().substr(0, line));
  with_sink([&](Sink& sink) { sink.write(record); });
}

/// Says once that FASTERAPI_LOG could not be read. Apart from the constructor of Registry, which it needs
/// finished.
void report_environment(Registry& registry) noexcept {
  static std::once_flag once;
  std::call_once(once, [&] {
    if (!registry.environment_error.empty())
      FASTERAPI_LOG_WARNING(registry.loggers[0], "FASTERAPI_LOG: %s", registry.environment_error.c_str());
  });
}

}  // namespace

Logger& logger(std::string_view name) noexcept {
  Registry& registry = Registry::get();
  report_environment(registry);
  std::lock_guard lock(registry.mutex);
  return registry.add_logger(name);
}

Site& kind(std::string_view id) noexcept {
  Registry& registry = Registry::get();
  std::lock_guard lock(registry.mutex);
  return registry.kind(id);
}

void set_level(std::string_view name, Level level) noexcept {
  Registry& registry = Registry::get();
  std::lock_guard lock(registry.mutex);
  registry.set(name, level);
}

std::string configure(std::string_view text) {
  Registry& registry = Registry::get();
  std::lock_guard lock(registry.mutex);
  return registry.configure(text);
}

void write(Logger& logger, Level level, Site& site, const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_record(logger, level, site, {}, format, arguments);
  va_end(arguments);
}

void write_fields(Logger& logger, Level level, Site& site, std::span<const Field> fields, const char* format,
                  ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_record(logger, level, site, fields, format, arguments);
  va_end(arguments);
}

std::size_t write_summaries(std::int64_t now_ns) noexcept {
  summaries_waiting.exchange(false, std::memory_order_acquire);
  const std::size_t waiting = Registry::get().summaries(now_ns);
  if (waiting) summaries_waiting.store(true, std::memory_order_relaxed);
  return waiting;
}
bool left_out_waiting() noexcept { return summaries_waiting.load(std::memory_order_acquire); }

Sink* set_sink(Sink* sink) noexcept {
  Sink* before = current_sink.exchange(sink, std::memory_order_seq_cst);
  while (writers.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
  return before;
}

std::uint64_t dropped() noexcept { return total_dropped.load(std::memory_order_relaxed); }
void count_dropped(std::uint64_t records) noexcept { total_dropped.fetch_add(records, std::memory_order_relaxed); }

void after_fork() noexcept {
  writers.store(0, std::memory_order_seq_cst);
  // `mutex` may be held by a thread that the child does not have: new names are rare and cold, but must not hang.
  Registry& registry = Registry::get();
  new (&registry.mutex) std::mutex;
}

}  // namespace fasterapi::core::log
