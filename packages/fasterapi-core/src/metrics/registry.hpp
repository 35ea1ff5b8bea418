#pragma once
// What the registry knows of the directory: families (a name, its type, help, labels, bounds) and their series.
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <fasterapi/core/metrics.hpp>

namespace fasterapi::core::metrics {

/// The numbers are in the shared block.
enum class Type : char { kCounter = 'c', kFloatCounter = 'f', kGauge = 'g', kHistogram = 'h' };
inline constexpr std::uint32_t kFamilyEntry = 1, kSeriesEntry = 2;

struct Registry::Family {
  std::string definition;  // its text in the directory
  std::string name, help;
  Type type = Type::kCounter;
  Merge merge = Merge::kSum;
  std::vector<double> bounds;
  std::vector<std::string> label_names;
  std::map<std::string, std::uint32_t> series;  // label values, each ended by NUL -> first cell
  std::uint32_t cell_count() const noexcept {
    return type == Type::kHistogram ? static_cast<std::uint32_t>(bounds.size()) + 2 : 1;
  }
};

struct Registry::State {
  std::mutex mutex;
  std::map<std::string, Family> families;  // nodes stay where they are: handles point to `bounds`
  std::uint32_t known = 0;                 // entries of the directory that were read
  Counter left_out;
};

struct Registry::Wanted {
  Type type;
  std::string_view name, help;
  std::span<const Label> labels;
  Merge merge = Merge::kSum;
  std::span<const double> bounds = {};
};

/// The shortest text that reads back as the value, in Prometheus' spelling.
void append_number(std::string& out, double value);

}  // namespace fasterapi::core::metrics
