#pragma once
// Numbers and names of the Model Context Protocol: revisions, error codes, reserved `_meta` keys.
//   Eras     "modern" is 2026-07-28: every request carries its own metadata and stands alone. "Legacy" is
//            2025-11-25 and before: an `initialize` handshake, then state per process or HTTP session.
#include <array>
#include <string_view>

namespace fasterapi::mcp {

inline constexpr std::string_view kModernVersion = "2026-07-28";
inline constexpr std::string_view kLatestLegacyVersion = "2025-11-25";
inline constexpr std::string_view kBatchVersion = "2025-03-26";  // the only revision with JSON-RPC batches
inline constexpr std::array<std::string_view, 4> kLegacyVersions = {"2024-11-05", "2025-03-26", "2025-06-18",
                                                                    "2025-11-25"};

inline constexpr int kParseError = -32700;
inline constexpr int kInvalidRequest = -32600;
inline constexpr int kMethodNotFound = -32601;
inline constexpr int kInvalidParams = -32602;
inline constexpr int kInternalError = -32603;
inline constexpr int kHeaderMismatch = -32020;
inline constexpr int kMissingClientCapability = -32021;
inline constexpr int kUnsupportedVersion = -32022;

inline constexpr std::string_view kMetaVersion = "io.modelcontextprotocol/protocolVersion";
inline constexpr std::string_view kMetaCapabilities = "io.modelcontextprotocol/clientCapabilities";
inline constexpr std::string_view kMetaClientInfo = "io.modelcontextprotocol/clientInfo";
inline constexpr std::string_view kMetaLogLevel = "io.modelcontextprotocol/logLevel";

constexpr bool is_legacy_version(std::string_view version) noexcept {
  for (auto known : kLegacyVersions)
    if (known == version) return true;
  return false;
}

/// Revisions are dates, so text order is time order. Anything that is not a date is treated as modern: it
/// is answered with kUnsupportedVersion and the list of what is served.
constexpr bool is_modern_version(std::string_view version) noexcept {
  return version.size() != 10 || version > kLatestLegacyVersion;
}

/// HTTP status that goes with a JSON-RPC error in the modern era (errors of tools and parameters are 200).
constexpr int http_status(int code) noexcept {
  switch (code) {
    case kMethodNotFound: return 404;
    case kParseError:
    case kInvalidRequest:
    case kHeaderMismatch:
    case kMissingClientCapability:
    case kUnsupportedVersion: return 400;
    default: return 200;
  }
}

constexpr bool is_log_level(std::string_view level) noexcept {
  for (auto known : {"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"})
    if (level == known) return true;
  return false;
}

}  // namespace fasterapi::mcp
