// Entry points of the request-head parser: choice of the tier, the memo, and what is too cold to be compiled per
// tier.
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include <fasterapi/core/platform.hpp>

#include "parser/head.hpp"

namespace fasterapi::http {

static_assert(std::is_trivially_copyable_v<RequestHead>);
static_assert(sizeof(FieldSlot) == 8 && kMaxFields % 4 == 0);

namespace {

constexpr std::string_view kMethodNames[kMethodCount] = {"",       "GET",   "HEAD",    "POST",  "PUT",
                                                         "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"};

const Tier* const kTiers[] = {
#if FASTERAPI_X86_64
    &kTierAvx512, &kTierAvx2, &kTierSse2,
#endif
    &kTierScalar};

const Tier& choose() noexcept {
  for (const Tier* tier : kTiers)
    if (tier->supported()) return *tier;
  return kTierScalar;
}

// Header blocks of this thread's connections, by hash. A slot holds one reference.
struct MemoTable {
  static constexpr unsigned kSlots = 64;
  MemoEntry* slots[kSlots] = {};
  ~MemoTable();
};
thread_local MemoTable memo_table;

void drop(MemoEntry* entry) noexcept {
  if (entry && --entry->references == 0) std::free(entry);
}

MemoTable::~MemoTable() {
  for (MemoEntry*& slot : slots) drop(std::exchange(slot, nullptr));
}

std::uint64_t hash_block(const char* p, std::uint32_t size) noexcept {
  std::uint64_t h = size;
  for (std::uint32_t i = 0; i + 8 <= size; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, p + i, 8);
    h = (h ^ word) * 0x9E3779B97F4A7C15ull;
    h ^= h >> 29;
  }
  return h;
}

MemoEntry* intern(RequestHead& head) noexcept {
  const char* block = head.fields_base();
  std::uint32_t size = head.size() - head.fields_at();
  std::uint64_t hash = hash_block(block, size);
  MemoEntry*& slot = memo_table.slots[hash % MemoTable::kSlots];
  if (slot && slot->hash == hash && slot->block_size == size && slot->minor_version == head.minor_version &&
      std::memcmp(slot->block, block, size) == 0) {
    ++slot->references;
    return slot;
  }
  auto* entry = static_cast<MemoEntry*>(std::malloc(sizeof(MemoEntry) + size + kReadPadding));
  if (!entry) return nullptr;
  entry->references = 2;
  entry->block_size = size;
  entry->hash = hash;
  entry->minor_version = head.minor_version;
  entry->line_age = 0;
  std::memcpy(static_cast<void*>(&entry->head), &head, sizeof(RequestHead));
  entry->block = reinterpret_cast<char*>(entry + 1);
  std::memcpy(entry->block, block, size);
  std::memset(entry->block + size, 0, kReadPadding);
  std::memset(entry->line, 0, sizeof entry->line);
  std::uint32_t line = head.fields_at();
  entry->line_size = line <= MemoEntry::kLineRoom && HeadAccess::state(head).start == 0 ? line : 0;
  std::memcpy(entry->line, head.base(), entry->line_size);
  entry->head.rebase(entry->line);
  drop(std::exchange(slot, entry));
  return entry;
}

}  // namespace

std::span<const Tier* const> all_tiers() noexcept { return kTiers; }

const Tier& best_tier() noexcept {
  static const Tier& tier = choose();
  return tier;
}

// Resolved while the library is loaded; functions that run even earlier get the scalar twin.
static ParseResult (*parse_best)(const char*, std::size_t, const Limits&, RequestHead&) noexcept = choose().parse;
static bool (*repeat_best)(const char*, std::size_t, const Limits&, RequestHead&,
                           MemoEntry&) noexcept = choose().repeat;

std::string_view simd_tier() noexcept { return best_tier().name; }

std::string_view method_name(Method method) noexcept { return kMethodNames[static_cast<unsigned>(method)]; }

Method method_from(std::string_view name) noexcept {
  for (unsigned i = 1; i < kMethodCount; ++i)
    if (kMethodNames[i] == name) return static_cast<Method>(i);
  return Method::other;
}

bool equals_lower(std::string_view text, std::string_view lower) noexcept {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (c - unsigned{'A'} < 26) c |= 0x20;
    if (c != static_cast<unsigned char>(lower[i])) return false;
  }
  return true;
}

unsigned RequestHead::find_index(std::string_view lower_name, unsigned from) const noexcept {
  for (unsigned i = from; i < field_count; ++i)
    if (fields[i].name_size == lower_name.size() && equals_lower(name(i), lower_name)) return i;
  return field_count;
}

std::string_view RequestHead::find(std::string_view lower_name) const noexcept {
  unsigned i = find_index(lower_name);
  return i < field_count ? value(i) : std::string_view{};
}

HeaderMemo::HeaderMemo(HeaderMemo&& other) noexcept
    : entry_(std::exchange(other.entry_, nullptr)), misses_(std::exchange(other.misses_, 0)) {}

HeaderMemo& HeaderMemo::operator=(HeaderMemo&& other) noexcept {
  std::swap(entry_, other.entry_);
  std::swap(misses_, other.misses_);
  return *this;
}

void HeaderMemo::reset() noexcept {
  drop(std::exchange(entry_, nullptr));
  misses_ = 0;
}

bool valid_authority(const char* text, std::size_t size) noexcept {
  if (size == 0) return false;  // RFC 9110 section 4.2.1: an http URI with an empty host is invalid
  std::string_view s(text, size);
  std::size_t host_end;
  auto hex = [](char c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f'); };
  if (s[0] == '[') {
    std::size_t close = s.find(']');
    if (close == s.npos || close < 3) return false;
    for (char c : s.substr(1, close - 1))
      if (!hex(c) && c != ':' && c != '.') return false;
    host_end = close + 1;
  } else {
    host_end = s.find(':');
    if (host_end == s.npos) host_end = size;
    if (host_end == 0) return false;
    for (std::size_t i = 0; i < host_end; ++i) {
      unsigned char c = static_cast<unsigned char>(s[i]);
      if (!detail::kBytes.not_host[c]) continue;
      if (c == '%') {
        if (i + 2 >= host_end || !hex(s[i + 1]) || !hex(s[i + 2])) return false;
        i += 2;
      } else if (std::string_view("!$&'()*+,;=").find(static_cast<char>(c)) == std::string_view::npos || c == 0) {
        return false;
      }
    }
  }
  if (host_end == size) return true;
  if (s[host_end] != ':' || size - host_end > 6) return false;
  for (char c : s.substr(host_end + 1))
    if (c < '0' || c > '9') return false;
  return true;
}

ParseResult parse_request(const char* data, std::size_t size, const Limits& limits, RequestHead& out) noexcept {
  return parse_best(data, size, limits, out);
}

ParseResult parse_request(const char* data, std::size_t size, const Limits& limits, RequestHead& out,
                          HeaderMemo& memo) noexcept {
  return HeadAccess::with_memo(data, size, limits, out, memo);
}

// A client that never repeats its header block (a trace id in every request) pays for storing it 4 times, then
// once in 64.
ParseResult HeadAccess::with_memo(const char* data, std::size_t size, const Limits& limits, RequestHead& out,
                                  HeaderMemo& memo) noexcept {
  const detail::HeadState& state = out.state_;
  if (FASTERAPI_LIKELY(memo.entry_ && !state.line_at && !state.scanned) &&
      FASTERAPI_LIKELY(repeat_best(data, size, limits, out, *memo.entry_))) {
    memo.misses_ = 0;
    return {ParseResult::Kind::complete, state.head_size, nullptr};
  }
  ParseResult result = parse_best(data, size, limits, out);
  if (!result.complete() || out.absolute_form) return result;
  if (out.size() - out.fields_at() > MemoEntry::kMaxBlock) return result;
  std::uint16_t misses = memo.misses_++;
  if (misses < 4 || misses % 64 == 0) drop(std::exchange(memo.entry_, intern(out)));
  return result;
}

}  // namespace fasterapi::http
