// Prometheus' text format 0.0.4, and OpenMetrics 1.0 where it differs.
#include <algorithm>
#include <charconv>
#include <limits>

#include "registry.hpp"

namespace fasterapi::core::metrics {
namespace {

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

void append_count(std::string& out, std::uint64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

/// {a="1",b="2"} with one more label in front of the end.
void append_labels(std::string& out, const std::vector<std::string>& names, std::string_view values,
                   std::string_view bound = {}) {
  if (names.empty() && bound.empty()) return;
  char before = '{';
  for (const std::string& name : names) {
    const std::string_view value = values.substr(0, values.find('\0'));
    values.remove_prefix(std::min(value.size() + 1, values.size()));
    out += before;
    out += name;
    out += "=\"";
    append_escaped(out, value, true);
    out += '"';
    before = ',';
  }
  if (!bound.empty()) {
    out += before;
    out += "le=\"";
    out += bound;
    out += '"';
  }
  out += '}';
}

std::uint64_t total(const SharedBlock& block, std::uint32_t cell) noexcept {
  std::uint64_t sum = 0;
  for (std::uint32_t slot = 0; slot < block.slots(); ++slot)
    sum += block.cell_of(slot, cell).load(std::memory_order_relaxed);
  return sum;
}
double float_total(const SharedBlock& block, std::uint32_t cell) noexcept {
  double sum = 0;
  for (std::uint32_t slot = 0; slot < block.slots(); ++slot) sum += detail::as_double(block.cell_of(slot, cell));
  return sum;
}
double merged(const SharedBlock& block, std::uint32_t cell, Merge merge) noexcept {
  double value = merge == Merge::kSum   ? 0
                 : merge == Merge::kMax ? -std::numeric_limits<double>::infinity()
                                        : std::numeric_limits<double>::infinity();
  bool any = false;
  for (std::uint32_t slot = 0; slot < block.slots(); ++slot) {
    if (!block.live(slot)) continue;
    const double here = detail::as_double(block.cell_of(slot, cell));
    value = merge == Merge::kSum   ? value + here
            : merge == Merge::kMax ? std::max(value, here)
                                   : std::min(value, here);
    any = true;
  }
  return any ? value : 0;
}

const char* type_name(Type type) noexcept {
  return type == Type::kGauge ? "gauge" : type == Type::kHistogram ? "histogram" : "counter";
}

}  // namespace

std::string Registry::text(Format format) {
  const bool open = format == Format::kOpenMetrics;
  std::lock_guard lock(state_->mutex);
  sync();
  block_->reap();  // gauges of processes that are gone
  std::string out;
  for (const auto& [name, family] : state_->families) {
    const bool counter = family.type == Type::kCounter || family.type == Type::kFloatCounter;
    // OpenMetrics names the family of x_total "x"; the sample is x_total, whatever the counter was called.
    std::string base = name, sample = name;
    if (open && counter) {
      if (name.ends_with("_total")) base.resize(base.size() - 6);
      sample = base + "_total";
    }
    if (!family.help.empty()) {
      out += "# HELP " + base + ' ';
      append_escaped(out, family.help, open);
      out += '\n';
    }
    out += "# TYPE " + base + ' ' + type_name(family.type) + '\n';
    for (const auto& [values, cell] : family.series) {
      if (family.type == Type::kHistogram) {
        const std::uint32_t bounds = static_cast<std::uint32_t>(family.bounds.size());
        std::uint64_t count = 0;
        for (std::uint32_t i = 0; i <= bounds; ++i) {
          count += total(*block_, cell + i);
          std::string bound;
          if (i < bounds) {
            append_number(bound, family.bounds[i]);
          } else {
            bound = "+Inf";
          }
          out += sample + "_bucket";
          append_labels(out, family.label_names, values, bound);
          out += ' ';
          append_count(out, count);
          out += '\n';
        }
        out += sample + "_sum";
        append_labels(out, family.label_names, values);
        out += ' ';
        append_number(out, float_total(*block_, cell + bounds + 1));
        out += '\n' + sample + "_count";
        append_labels(out, family.label_names, values);
        out += ' ';
        append_count(out, count);
        out += '\n';
        continue;
      }
      out += sample;
      append_labels(out, family.label_names, values);
      out += ' ';
      if (family.type == Type::kCounter) {
        append_count(out, total(*block_, cell));
      } else if (family.type == Type::kFloatCounter) {
        append_number(out, float_total(*block_, cell));
      } else {
        append_number(out, merged(*block_, cell, family.merge));
      }
      out += '\n';
    }
  }
  if (open) out += "# EOF\n";
  return out;
}

}  // namespace fasterapi::core::metrics
