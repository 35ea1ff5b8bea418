#pragma once
// Messages of the client, appended to an OutBuffer. Nothing here knows a socket.
//   Cost     one bounds check and a copy per part
//   Errors   a message that would not fit into kMaxMessage bytes, or more than kMaxParameters parameters, makes
//            the encoder return false with the buffer as it was before (lengths are added up in 64 bits)
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <fasterapi/core/buffer.hpp>

namespace fasterapi::pg {

using core::OutBuffer;

inline constexpr std::uint64_t kMaxMessage = 0x3fffffff;  // the server refuses 1 GiB and more
inline constexpr std::size_t kMaxParameters = 65535;      // a 16-bit count in Bind
inline constexpr std::uint32_t kProtocol30 = 3u << 16;
inline constexpr std::uint32_t kProtocol32 = (3u << 16) | 2;
inline constexpr std::uint32_t kSslRequestCode = (1234u << 16) | 5679;
inline constexpr std::uint32_t kCancelRequestCode = (1234u << 16) | 5678;

namespace frontend {

using Parameter = std::pair<std::string_view, std::string_view>;

/// Names and values must not contain NUL (returns false): they come from settings, and a NUL would end one
/// parameter and start another.
bool startup(OutBuffer& out, std::uint32_t version, std::span<const Parameter> parameters);
void ssl_request(OutBuffer& out);
void cancel_request(OutBuffer& out, std::uint32_t pid, std::string_view key);
bool password(OutBuffer& out, std::string_view password);
bool sasl_initial(OutBuffer& out, std::string_view mechanism, std::string_view data);
bool sasl_response(OutBuffer& out, std::string_view data);
bool query(OutBuffer& out, std::string_view sql);
bool parse(OutBuffer& out, std::string_view name, std::string_view sql, std::span<const std::uint32_t> types);
void describe_statement(OutBuffer& out, std::string_view name);
void describe_portal(OutBuffer& out, std::string_view name);
void close_statement(OutBuffer& out, std::string_view name);
void close_portal(OutBuffer& out, std::string_view name);
void execute(OutBuffer& out, std::string_view portal, std::uint32_t limit);
void sync(OutBuffer& out);
void flush(OutBuffer& out);
void terminate(OutBuffer& out);
bool copy_fail(OutBuffer& out, std::string_view reason);
bool copy_data(OutBuffer& out, std::string_view data);
void copy_done(OutBuffer& out);

/// Bind is written in three steps, so that the values go straight into the buffer:
///   mark = bind_begin(); every value: a 32-bit length and its bytes; bind_end() or out.truncate(mark)
/// `formats`: one code for all parameters, or one per parameter.
std::size_t bind_begin(OutBuffer& out, std::string_view portal, std::string_view statement,
                       std::span<const std::uint16_t> formats, std::size_t count);
bool bind_end(OutBuffer& out, std::size_t mark, std::span<const std::uint16_t> result_formats);

/// Execute of the unnamed portal without a limit, then Sync: the usual end of a query.
inline void execute_and_sync(OutBuffer& out) {
  static constexpr char kBytes[] = {'E', 0, 0, 0, 9, 0, 0, 0, 0, 0, 'S', 0, 0, 0, 4};
  out.append({kBytes, sizeof kBytes});
}

}  // namespace frontend
}  // namespace fasterapi::pg
