#pragma once
// The binary form of `numeric`: base-10000 digits, weight, sign and display scale. Exact in both directions.
//   Cost     linear in the number of digits; no allocation when `text` has room
//   Errors   false for a malformed value (a digit above 9999, a count that does not fit, an unknown sign)
#include <string>
#include <string_view>

#include <fasterapi/core/buffer.hpp>

namespace fasterapi::pg {

/// Replaces `text` by the decimal form, "NaN", "Infinity" or "-Infinity".
bool numeric_to_text(std::string_view body, std::string& text);

enum class NumericError { none, malformed, too_large };

/// Appends the body (without its length word) for a decimal such as "-12.50", "1E+3", "NaN", "-Infinity".
NumericError numeric_from_text(std::string_view text, core::OutBuffer& out);

}  // namespace fasterapi::pg
