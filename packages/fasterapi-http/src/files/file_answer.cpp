#include <fasterapi/http/file_answer.hpp>

#include <sys/random.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <new>

#include <fasterapi/http/server.hpp>

namespace fasterapi::http {
namespace {

using Fields = std::vector<HeaderField>;

void close_file(void* descriptor) noexcept {
  ::close(static_cast<int>(reinterpret_cast<std::intptr_t>(descriptor)));
}

/// A part of the file; `last`: the descriptor goes with it.
core::StreamSource source_of(int descriptor, const ByteRange& range, bool last) noexcept {
  core::StreamSource source;
  source.file = descriptor;
  source.offset = range.first;
  source.size = range.size();
  if (last) {
    source.release = &close_file;
    source.arg = reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor));
  }
  return source;
}

std::string content_range(const ByteRange& range, std::uint64_t size) {
  return "bytes " + std::to_string(range.first) + "-" + std::to_string(range.end - 1) + "/" + std::to_string(size);
}

/// Sends the parts of multipart/byteranges one after the other, each when the client has taken the one before.
class Parts {
 public:
  Parts(Transaction& tx, int descriptor) noexcept : tx_(tx), descriptor_(descriptor) { tx_.retain(); }
  ~Parts() {
    ::close(descriptor_);
    tx_.release();
  }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  std::vector<ByteRange> ranges;
  std::vector<std::string> heads;
  std::string end;

  static void go(std::unique_ptr<Parts> self) noexcept {
    Transaction& tx = self->tx_;
    while (tx.connected() && self->next_ < self->ranges.size()) {
      tx.write(self->heads[self->next_]);
      tx.write_from(source_of(self->descriptor_, self->ranges[self->next_], false));
      ++self->next_;
      // The descriptor must live as long as the stream sends from it.
      if (tx.connected() && tx.unsent()) {
        tx.on_disconnect([](void* arg) noexcept { delete static_cast<Parts*>(arg); }, self.get());
        tx.on_drained(&Parts::drained, self.get());
        self.release();
        return;
      }
    }
    tx.on_disconnect(nullptr, nullptr);
    tx.write(self->end);
    tx.finish();
  }

 private:
  static void drained(void* arg) noexcept {
    auto* self = static_cast<Parts*>(arg);
    self->tx_.on_drained(nullptr, nullptr);
    go(std::unique_ptr<Parts>(self));
  }

  Transaction& tx_;
  int descriptor_;
  std::size_t next_ = 0;
};

std::string make_boundary() {
  unsigned char bytes[16];
  if (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes) throw std::bad_alloc();
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : bytes) (text += kHex[byte >> 4]) += kHex[byte & 15];
  return text;
}

void answer_parts(Transaction& tx, FileAnswer& answer, std::vector<ByteRange> ranges, Fields& fields) {
  auto parts = std::make_unique<Parts>(tx, std::exchange(answer.descriptor, -1));
  const std::string boundary = make_boundary();
  std::uint64_t length = 0;
  for (const ByteRange& range : ranges) {
    std::string head = parts->heads.empty() ? "--" : "\r\n--";
    head += boundary + "\r\n";
    if (!answer.content_type.empty()) head += "content-type: " + answer.content_type + "\r\n";
    head += "content-range: " + content_range(range, answer.size) + "\r\n\r\n";
    length += head.size() + range.size();
    parts->heads.push_back(std::move(head));
  }
  parts->end = "\r\n--" + boundary + "--\r\n";
  length += parts->end.size();
  parts->ranges = std::move(ranges);
  const std::string digits = std::to_string(length);
  fields.push_back({"content-length", digits});
  tx.start(206, "multipart/byteranges; boundary=" + boundary, fields);
  if (tx.head_only()) return tx.finish();
  Parts::go(std::move(parts));
}

void answer_unmodified(Transaction& tx, const FileAnswer& answer, const Fields& fields) {
  // RFC 9110 section 15.4.5: what a cache needs, and not what describes a body.
  Fields kept;
  for (const HeaderField& field : fields) {
    for (std::string_view name : {"etag", "cache-control", "content-location", "expires", "vary", "date"})
      if (equals_lower(field.name, name)) kept.push_back(field);
    if (answer.entity_tag.empty() && equals_lower(field.name, "last-modified")) kept.push_back(field);
  }
  tx.respond(304, {}, kept, std::string_view{});
}

void answer(Transaction& tx, FileAnswer& file) {
  Fields fields;
  for (const auto& [name, value] : file.fields) fields.push_back({name, value});
  char date[32];
  if (file.last_modified != kNoDate)
    fields.push_back(
        {"last-modified", {date, static_cast<std::size_t>(write_http_date(date, file.last_modified) - date)}});
  if (!file.entity_tag.empty()) fields.push_back({"etag", file.entity_tag});
  const Validators validators{file.entity_tag, file.last_modified};
  const Method method = tx.head.method;
  const bool plain = file.status == 200 && (method == Method::get || method == Method::head);
  if (plain && file.max_ranges) fields.push_back({"accept-ranges", "bytes"});
  if (file.conditional && file.status == 200) {
    switch (evaluate_conditions(tx.head, validators)) {
      case Condition::not_modified: return answer_unmodified(tx, file, fields);
      case Condition::failed: return tx.respond_error(412, "Precondition Failed");
      case Condition::proceed: break;
    }
  }
  std::vector<ByteRange> ranges;
  // RFC 9110 section 14.2 defines ranges for GET only.
  if (plain && file.max_ranges && (method == Method::get || file.starlette) &&
      range_applies(tx.head, validators)) {
    switch (parse_ranges(tx.head.find("range"), file.size, file.max_ranges, ranges)) {
      case RangeResult::malformed:
        if (file.starlette) return tx.respond(400, "text/plain; charset=utf-8", {}, "Malformed range header.");
        break;
      case RangeResult::unsatisfiable: {
        const std::string all = "bytes */" + std::to_string(file.size);
        const HeaderField field{"content-range", all};
        return tx.respond(416, {}, {&field, 1}, std::string_view{});
      }
      case RangeResult::ignored:
      case RangeResult::satisfiable: break;
    }
  }
  if (ranges.size() > 1) return answer_parts(tx, file, std::move(ranges), fields);
  ByteRange range{0, file.size};
  std::string part;
  if (ranges.size() == 1) {
    range = ranges.front();
    part = content_range(range, file.size);
    fields.push_back({"content-range", part});
  }
  tx.respond_from(ranges.empty() ? file.status : 206, file.content_type, fields,
                  source_of(std::exchange(file.descriptor, -1), range, true));
}

}  // namespace

FileAnswer::~FileAnswer() {
  if (descriptor >= 0) ::close(descriptor);
}

void answer_file(Transaction& transaction, FileAnswer& file) noexcept {
  try {
    answer(transaction, file);
  } catch (const std::bad_alloc&) {
    transaction.abort();
  }
  if (file.descriptor >= 0) ::close(std::exchange(file.descriptor, -1));
}

std::string file_entity_tag(std::uint64_t size, std::int64_t modified_ns) {
  char text[48];
  std::snprintf(text, sizeof text, "\"%llx-%llx\"", static_cast<unsigned long long>(size),
                static_cast<unsigned long long>(modified_ns));
  return text;
}

}  // namespace fasterapi::http
