#pragma once
// Counters, gauges and histograms with labels, kept in the shared block of the service, so that any of its
// processes can tell the totals of all of them in Prometheus' text format.
//   Cost     resolve a handle once (a look-up under a lock); then add(): a load, an add, a store, about 1 ns;
//            observe(): a pass over the bounds and two such adds
//   Threads  add(), set() and observe() of one series: one thread at a time in a process (its loop's, or whoever
//            holds the GIL). From anywhere else only add_from_any_thread(). All of Registry: any thread
//   Limits   kMaxSeries per name; a series that is one too many, or finds the block full, gives a handle that
//   counts
//            nowhere, a log line, and fasterapi_metrics_series_left_out_total
//   Memory   nothing is allocated after a handle is resolved; handles are valid as long as the registry
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/core/export.hpp>
#include <fasterapi/core/shared_block.hpp>

namespace fasterapi::core::metrics {

inline constexpr std::size_t kMaxSeries = 1000;
inline constexpr std::size_t kMaxBounds = 64;

namespace detail {
extern FASTERAPI_CORE_API Cell nowhere[kMaxBounds + 2];

inline void add(Cell& cell, std::uint64_t n) noexcept {
  cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}
inline double as_double(const Cell& cell) noexcept {
  return std::bit_cast<double>(cell.load(std::memory_order_relaxed));
}
inline void store(Cell& cell, double value) noexcept {
  cell.store(std::bit_cast<std::uint64_t>(value), std::memory_order_relaxed);
}
}  // namespace detail

/// Only ever grows, by whole numbers.
class Counter {
 public:
  void add(std::uint64_t n = 1) noexcept { detail::add(*cell_, n); }
  void add_from_any_thread(std::uint64_t n = 1) noexcept { cell_->fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t here() const noexcept { return cell_->load(std::memory_order_relaxed); }  // of this process's slot

 private:
  friend class Registry;
  Cell* cell_ = detail::nowhere;
};

/// Only ever grows, by any amount: seconds.
class FloatCounter {
 public:
  void add(double n) noexcept { detail::store(*cell_, detail::as_double(*cell_) + n); }
  double here() const noexcept { return detail::as_double(*cell_); }

 private:
  friend class Registry;
  Cell* cell_ = detail::nowhere;
};

/// A value that goes both ways; ends with its process.
class Gauge {
 public:
  void set(double value) noexcept { detail::store(*cell_, value); }
  void add(double n) noexcept { set(here() + n); }
  double here() const noexcept { return detail::as_double(*cell_); }

 private:
  friend class Registry;
  Cell* cell_ = detail::nowhere;
};

/// How often values fell into which range.
class Histogram {
 public:
  void observe(double value) noexcept {
    std::uint32_t bucket = 0;
    for (std::uint32_t i = 0; i < size_; ++i) bucket += bounds_[i] < value;
    if (value != value) bucket = size_;  // NaN is in no range but the last, which has all
    detail::add(cells_[bucket], 1);
    detail::store(cells_[size_ + 1], detail::as_double(cells_[size_ + 1]) + value);
  }
  std::uint64_t count_here() const noexcept {
    std::uint64_t count = 0;
    for (std::uint32_t i = 0; i <= size_; ++i) count += cells_[i].load(std::memory_order_relaxed);
    return count;
  }
  double sum_here() const noexcept { return detail::as_double(cells_[size_ + 1]); }

 private:
  friend class Registry;
  Cell* cells_ = detail::nowhere;
  const double* bounds_ = nullptr;
  std::uint32_t size_ = 0;
};

struct Label {
  std::string_view name, value;
};
/// How the gauges of several processes become one number.
enum class Merge : char { kSum = 's', kMax = 'M', kMin = 'm' };
enum class Format { kPrometheus, kOpenMetrics };

/// `count` bounds: start, start * factor, ... Throws Error when they do not grow.
FASTERAPI_CORE_API std::vector<double> exponential_bounds(double start, double factor, std::size_t count);
/// 1 ms to 10 s.
FASTERAPI_CORE_API std::span<const double> default_bounds() noexcept;

class FASTERAPI_CORE_API Registry {
 public:
  explicit Registry(std::shared_ptr<SharedBlock> block);
  ~Registry();
  /// The one of this process: over the block whose descriptor is in FASTERAPI_SHARED_FD, else over its own.
  static Registry& process();
  /// Whether process() has been called.
  static bool exists() noexcept;

  SharedBlock& block() noexcept { return *block_; }

  /// A series is its name and label values; the same again gives the same cells. Throws Error when a name is not
  /// allowed, or was used with another type, help, label names or bounds.
  Counter counter(std::string_view name, std::string_view help, std::span<const Label> labels = {});
  FloatCounter float_counter(std::string_view name, std::string_view help, std::span<const Label> labels = {});
  Gauge gauge(std::string_view name, std::string_view help, std::span<const Label> labels = {},
              Merge merge = Merge::kSum);
  Histogram histogram(std::string_view name, std::string_view help, std::span<const double> bounds,
                      std::span<const Label> labels = {});

  /// All series of all processes. Counters of processes that are gone are in the totals.
  std::string text(Format format = Format::kPrometheus);

 private:
  struct State;
  struct Family;
  struct Wanted;
  Family& family(const Wanted& wanted);
  Cell* series(Family& family, std::span<const Label> labels);
  Cell* single(const Wanted& wanted);
  void sync();

  std::shared_ptr<SharedBlock> block_;
  std::unique_ptr<State> state_;
};

}  // namespace fasterapi::core::metrics
