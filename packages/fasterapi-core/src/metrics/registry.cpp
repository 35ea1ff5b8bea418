// Names to cells. A family's text in the directory: name, type, merge, help, bounds and label names, each ended by
// NUL. A series': the name of its family and the label values, each ended by NUL.
#include "registry.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

#include <fasterapi/core/error.hpp>

#include "log/core_log.hpp"

namespace fasterapi::core::metrics {

namespace detail {
Cell nowhere[kMaxBounds + 2];
}

namespace {

constinit std::atomic<Registry*> process_registry{nullptr};

bool letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

void check_name(std::string_view name, bool colons, const char* what) {
  bool good = !name.empty() && name.size() <= 200;
  for (std::size_t i = 0; good && i < name.size(); ++i)
    good = letter(name[i]) || (colons && name[i] == ':') || (i && name[i] >= '0' && name[i] <= '9');
  if (!good) throw Error("metrics: '" + std::string(name.substr(0, 60)) + "' cannot be the name of a " + what);
}

void append_field(std::string& out, std::string_view text) {
  for (char c : text) {
    if (c) {
      out += c;
    } else {
      out += "\xEF\xBF\xBD";  // U+FFFD: NUL ends a field
    }
  }
  out += '\0';
}

std::string_view take_field(std::string_view& text) noexcept {
  const std::string_view field = text.substr(0, text.find('\0'));
  text.remove_prefix(std::min(field.size() + 1, text.size()));
  return field;
}

std::shared_ptr<SharedBlock> process_block() {
  const char* given = std::getenv("FASTERAPI_SHARED_FD");
  if (given && *given) {
    try {
      char* end = nullptr;
      const long fd = std::strtol(given, &end, 10);
      if (*end || fd < 0 || fd > 1 << 24) throw Error("not a number");
      return SharedBlock::attach(static_cast<int>(fd));
    } catch (const Error& error) {
      FASTERAPI_LOG_WARNING(core_log(), "FASTERAPI_SHARED_FD=%s: %s; this process counts for itself", given,
                            error.what());
    }
  }
  return SharedBlock::create();
}

}  // namespace

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    char text[32];
    char* end = std::to_chars(text, text + sizeof text, value).ptr;
    out.append(text, end);
    if (std::find_if(text, end, [](char c) { return c == '.' || c == 'e'; }) == end) out += ".0";
  }
}

std::vector<double> exponential_bounds(double start, double factor, std::size_t count) {
  if (!(start > 0) || !(factor > 1) || count == 0 || count > kMaxBounds)
    throw Error("metrics: exponential bounds need start > 0, factor > 1 and 1 to " + std::to_string(kMaxBounds) +
                " of them");
  std::vector<double> bounds(count);
  for (double& bound : bounds) bound = std::exchange(start, start * factor);
  return bounds;
}

std::span<const double> default_bounds() noexcept {
  static constexpr double kBounds[] = {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
  return kBounds;
}

// ---------------------------------------------------------------- the registry

Registry::Registry(std::shared_ptr<SharedBlock> block) : block_(std::move(block)), state_(new State) {
  if (!block_->claim())
    FASTERAPI_LOG_WARNING(
        core_log(), "metrics: all %u slots of the shared block are taken; what this process counts is not seen",
        block_->slots());
  state_->left_out = counter("fasterapi_metrics_series_left_out_total",
                             "Series that found no room: more than 1000 of one name, or a full block.");
}
Registry::~Registry() = default;

Registry& Registry::process() {
  // Leaked: handles may be used until the very end.
  static Registry* registry = [] {
    auto* made = new Registry(process_block());
    process_registry.store(made, std::memory_order_release);
    // A child counts into a slot of its own, through the same handles.
    ::pthread_atfork(nullptr, nullptr, [] {
      Registry& mine = *process_registry.load(std::memory_order_acquire);
      new (&mine.state_->mutex) std::mutex;  // a thread that the child does not have may hold it
      mine.block_->after_fork();
    });
    return made;
  }();
  return *registry;
}
bool Registry::exists() noexcept { return process_registry.load(std::memory_order_acquire) != nullptr; }

/// Reads entries that this or another process appended. Under the mutex.
void Registry::sync() {
  for (const std::uint32_t count = block_->entry_count(); state_->known < count; ++state_->known) {
    const SharedBlock::Entry entry = block_->entry(state_->known);
    std::string_view text = entry.text;
    std::string name(take_field(text));
    if (entry.kind == kFamilyEntry) {
      auto [at, added] = state_->families.try_emplace(name);
      if (!added) continue;  // the first definition counts; who made the second was told
      Family& family = at->second;
      family.definition = entry.text;
      family.name = std::move(name);
      family.type = static_cast<Type>(take_field(text).front());
      family.merge = static_cast<Merge>(take_field(text).front());
      family.help = take_field(text);
      for (std::string_view bounds = take_field(text); !bounds.empty();) {
        double bound = 0;
        const char* end = std::from_chars(bounds.data(), bounds.data() + bounds.size(), bound).ptr;
        family.bounds.push_back(bound);
        bounds.remove_prefix(std::min(static_cast<std::size_t>(end - bounds.data()) + 1, bounds.size()));
      }
      while (!text.empty()) family.label_names.emplace_back(take_field(text));
    } else if (entry.kind == kSeriesEntry) {
      const auto at = state_->families.find(name);
      if (at != state_->families.end() && at->second.cell_count() == entry.cell_count)
        at->second.series.emplace(text, entry.first_cell);
    }
  }
}

Registry::Family& Registry::family(const Wanted& wanted) {
  std::string definition;
  append_field(definition, wanted.name);
  append_field(definition, {reinterpret_cast<const char*>(&wanted.type), 1});
  append_field(definition, {reinterpret_cast<const char*>(&wanted.merge), 1});
  append_field(definition, wanted.help);
  std::string bounds;
  for (double bound : wanted.bounds) {
    if (!bounds.empty()) bounds += ',';
    append_number(bounds, bound);
  }
  append_field(definition, bounds);
  for (const Label& label : wanted.labels) append_field(definition, label.name);

  auto at = state_->families.find(std::string(wanted.name));
  if (at == state_->families.end()) {
    check_name(wanted.name, true, "metric");
    if (!std::is_sorted(wanted.bounds.begin(), wanted.bounds.end(), std::less_equal<>()) ||
        wanted.bounds.size() > kMaxBounds ||
        std::any_of(wanted.bounds.begin(), wanted.bounds.end(), [](double b) { return !std::isfinite(b); }))
      throw Error("metrics: the bounds of '" + std::string(wanted.name) +
                  "' must be finite, grow, and be at most " + std::to_string(kMaxBounds));
    for (std::size_t i = 0; i < wanted.labels.size(); ++i) {
      const std::string_view label = wanted.labels[i].name;
      check_name(label, false, "label");
      if (label.starts_with("__") || (wanted.type == Type::kHistogram && label == "le"))
        throw Error("metrics: the label name '" + std::string(label) + "' is reserved");
      for (std::size_t k = 0; k < i; ++k)
        if (wanted.labels[k].name == label)
          throw Error("metrics: the label '" + std::string(label) + "' is named twice");
    }
    if (!block_->add_entry(kFamilyEntry, definition, 0, false)) {
      // No room: an entry of this process only, with series that count nowhere.
      Family& family = state_->families[std::string(wanted.name)];
      family.definition = definition;
      family.name = wanted.name;
      family.type = wanted.type;
      family.bounds.assign(wanted.bounds.begin(), wanted.bounds.end());
      for (const Label& label : wanted.labels) family.label_names.emplace_back(label.name);
      return family;
    }
    sync();
    at = state_->families.find(std::string(wanted.name));
  }
  if (at->second.definition != definition)
    throw Error("metrics: '" + std::string(wanted.name) +
                "' exists with another type, help, label names, bounds or merge");
  return at->second;
}

Cell* Registry::series(Family& family, std::span<const Label> labels) {
  std::string values;
  for (const Label& label : labels) append_field(values, label.value);
  auto at = family.series.find(values);
  if (at == family.series.end() && family.series.size() < kMaxSeries) {
    std::string text;
    append_field(text, family.name);
    text += values;
    if (auto added = block_->add_entry(kSeriesEntry, text, family.cell_count(), family.type == Type::kGauge)) {
      // From the entry, not from sync(): of two families of one name only the first has its series there.
      at = family.series.emplace(values, block_->entry(*added).first_cell).first;
    }
  }
  if (at == family.series.end()) {
    state_->left_out.add_from_any_thread();
    FASTERAPI_LOG_WARNING(core_log(), "metrics: no room for another series of '%s' (at most %zu of one name)",
                          family.name.c_str(), kMaxSeries);
    return detail::nowhere;
  }
  return &block_->cell(at->second);
}

Cell* Registry::single(const Wanted& wanted) {
  std::lock_guard lock(state_->mutex);
  sync();
  return series(family(wanted), wanted.labels);
}

Counter Registry::counter(std::string_view name, std::string_view help, std::span<const Label> labels) {
  Counter handle;
  handle.cell_ = single({Type::kCounter, name, help, labels});
  return handle;
}
FloatCounter Registry::float_counter(std::string_view name, std::string_view help, std::span<const Label> labels) {
  FloatCounter handle;
  handle.cell_ = single({Type::kFloatCounter, name, help, labels});
  return handle;
}
Gauge Registry::gauge(std::string_view name, std::string_view help, std::span<const Label> labels, Merge merge) {
  Gauge handle;
  handle.cell_ = single({Type::kGauge, name, help, labels, merge});
  return handle;
}
Histogram Registry::histogram(std::string_view name, std::string_view help, std::span<const double> bounds,
                              std::span<const Label> labels) {
  std::lock_guard lock(state_->mutex);
  sync();
  Family& of = family({Type::kHistogram, name, help, labels, Merge::kSum, bounds});
  Histogram handle;
  handle.cells_ = series(of, labels);
  handle.bounds_ = of.bounds.data();
  handle.size_ = static_cast<std::uint32_t>(of.bounds.size());
  return handle;
}

}  // namespace fasterapi::core::metrics
