#include "access_format.hpp"

#include <unistd.h>

#include <charconv>
#include <utility>

#include <fasterapi/http/response_head.hpp>

namespace fasterapi::http {
namespace {

constexpr char kHex[] = "0123456789abcdef";

void number(std::string& line, std::uint64_t value) {
  char digits[24];
  line.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

/// `value` thousandths as a decimal.
void thousandths(std::string& line, std::uint64_t value) {
  number(line, value / 1000);
  line += '.';
  line += static_cast<char>('0' + value / 100 % 10);
  line += static_cast<char>('0' + value / 10 % 10);
  line += static_cast<char>('0' + value % 10);
}

void escaped(std::string& line, std::string_view text, bool json) {
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') continue;
    line.append(text, plain, i - plain);
    plain = i + 1;
    if (c == '"' || c == '\\') {
      line += '\\';
      line += static_cast<char>(c);
    } else {
      line += json ? "\\u00" : "\\x";
      line += kHex[c >> 4];
      line += kHex[c & 15];
    }
  }
  line.append(text, plain);
}

void dash_or(std::string& line, std::string_view text) {
  if (text.empty())
    line += '-';
  else
    escaped(line, text, false);
}

std::string_view protocol(const Transaction& tx) { return tx.head.minor_version ? "HTTP/1.1" : "HTTP/1.0"; }

}  // namespace

bool AccessFormat::compile(std::string_view format, std::string& error) {
  parts_.clear();
  json_ = format == "json";
  if (json_) return true;
  static constexpr std::pair<std::string_view, Kind> kAtoms[] = {
      {"h", Kind::host},
      {"l", Kind::dash},
      {"u", Kind::dash},
      {"t", Kind::time},
      {"r", Kind::line},
      {"m", Kind::method},
      {"U", Kind::path},
      {"q", Kind::query},
      {"H", Kind::protocol},
      {"s", Kind::status},
      {"B", Kind::bytes},
      {"b", Kind::bytes_or_dash},
      {"T", Kind::seconds},
      {"M", Kind::milliseconds},
      {"D", Kind::microseconds},
      {"L", Kind::decimal},
      {"p", Kind::pid},
      {"client_addr", Kind::client},
      {"request_line", Kind::line},
      {"status_code", Kind::phrase},
      {"iso_time", Kind::iso_time},
      {"target", Kind::target},
  };
  auto literal = [this](std::string_view text) {
    if (text.empty()) return;
    if (!parts_.empty() && parts_.back().kind == Kind::text)
      parts_.back().text += text;
    else
      parts_.push_back({Kind::text, std::string(text)});
  };
  while (!format.empty()) {
    std::size_t percent = format.find('%');
    literal(format.substr(0, percent));
    if (percent == format.npos) break;
    format.remove_prefix(percent + 1);
    if (!format.empty() && format.front() == '%') {
      literal("%");
      format.remove_prefix(1);
      continue;
    }
    std::size_t end = format.find(")s");
    if (format.empty() || format.front() != '(' || end == format.npos) {
      error = "an atom is written %(name)s, a percent sign %%";
      return false;
    }
    std::string_view name = format.substr(1, end - 1);
    format.remove_prefix(end + 2);
    if (name == "f" || name == "a") {
      parts_.push_back({Kind::header, name == "f" ? "referer" : "user-agent"});
    } else if (name.size() > 3 && name.front() == '{' && name.substr(name.size() - 2) == "}i") {
      std::string field(name.substr(1, name.size() - 3));
      for (char& c : field)
        if (c >= 'A' && c <= 'Z') c |= 0x20;
      parts_.push_back({Kind::header, field});
    } else {
      const Kind* found = nullptr;
      for (const auto& [atom, kind] : kAtoms)
        if (atom == name) found = &kind;
      if (!found) {
        error = "there is no atom %(" + std::string(name) + ")s";
        return false;
      }
      parts_.push_back({*found, {}});
    }
  }
  return true;
}

std::string_view AccessFormat::clock(bool iso) {
  std::time_t now = std::time(nullptr);
  if (now != second_) {
    second_ = now;
    std::tm parts{};
    char text[64];
    ::localtime_r(&now, &parts);
    local_.assign(text, std::strftime(text, sizeof text, "[%d/%b/%Y:%H:%M:%S %z]", &parts));
    ::gmtime_r(&now, &parts);
    iso_.assign(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts));
  }
  return iso ? iso_ : local_;
}

void AccessFormat::put(const Part& part, const Transaction& tx, std::int64_t elapsed_ns, std::string& line) {
  auto elapsed = static_cast<std::uint64_t>(elapsed_ns < 0 ? 0 : elapsed_ns);
  switch (part.kind) {
    case Kind::text: line += part.text; break;
    case Kind::host: dash_or(line, tx.client_host()); break;
    case Kind::client: line += tx.client().empty() ? std::string_view("-") : tx.client(); break;
    case Kind::line:
      escaped(line, tx.head.method_text(), false);
      line += ' ';
      escaped(line, tx.head.target(), false);
      line += ' ';
      line += protocol(tx);
      break;
    case Kind::method: escaped(line, tx.head.method_text(), false); break;
    case Kind::path: escaped(line, tx.head.path(), false); break;
    case Kind::query: escaped(line, tx.head.query(), false); break;
    case Kind::target: escaped(line, tx.head.target(), false); break;
    case Kind::protocol: line += protocol(tx); break;
    case Kind::status: number(line, static_cast<std::uint64_t>(tx.status())); break;
    case Kind::phrase:
      number(line, static_cast<std::uint64_t>(tx.status()));
      line += ' ';
      line += reason_phrase(tx.status());
      break;
    case Kind::bytes: number(line, tx.body_bytes_sent()); break;
    case Kind::bytes_or_dash: tx.body_bytes_sent() ? number(line, tx.body_bytes_sent()) : void(line += '-'); break;
    case Kind::header: dash_or(line, tx.head.find(part.text)); break;
    case Kind::time: line += clock(false); break;
    case Kind::iso_time: line += clock(true); break;
    case Kind::seconds: number(line, elapsed / 1'000'000'000); break;
    case Kind::milliseconds: number(line, elapsed / 1'000'000); break;
    case Kind::microseconds: number(line, elapsed / 1000); break;
    case Kind::decimal: {
      number(line, elapsed / 1'000'000'000);
      std::string digits = std::to_string(elapsed / 1000 % 1'000'000);
      line += '.';
      line.append(6 - digits.size(), '0');
      line += digits;
      break;
    }
    case Kind::pid:
      line += '<';
      number(line, static_cast<std::uint64_t>(::getpid()));
      line += '>';
      break;
    case Kind::dash: line += '-'; break;
  }
}

void AccessFormat::write(const Transaction& tx, std::int64_t elapsed_ns, std::string& line) {
  line.clear();
  if (json_) return write_json(tx, elapsed_ns, line);
  for (const Part& part : parts_) put(part, tx, elapsed_ns, line);
  line += '\n';
}

void AccessFormat::write_json(const Transaction& tx, std::int64_t elapsed_ns, std::string& line) {
  auto text = [&line](std::string_view key, std::string_view value) {
    line.append(line.empty() ? "{\"" : ",\"").append(key).append("\":\"");
    escaped(line, value, true);
    line += '"';
  };
  auto value = [&line](std::string_view key, std::uint64_t what) {
    line.append(",\"").append(key).append("\":");
    number(line, what);
  };
  text("time", clock(true));
  text("client", tx.client());
  text("method", tx.head.method_text());
  text("path", tx.head.path());
  text("query", tx.head.query());
  text("protocol", protocol(tx));
  value("status", static_cast<std::uint64_t>(tx.status()));
  value("bytes", tx.body_bytes_sent());
  line += ",\"ms\":";
  thousandths(line, static_cast<std::uint64_t>(elapsed_ns < 0 ? 0 : elapsed_ns) / 1000);
  text("referer", tx.head.find("referer"));
  text("user_agent", tx.head.find("user-agent"));
  value("pid", static_cast<std::uint64_t>(::getpid()));
  line += "}\n";
}

}  // namespace fasterapi::http
