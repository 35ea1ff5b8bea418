// Forms by table, in every split, and the advisories of multipart parsers.
#include <fasterapi/http/form.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <string>

namespace fasterapi::http {
namespace {

/// What a parser says of a body, as text: "name=value;" for fields, "name(filename)=content;" for files, then
/// "done" or "!error" or "...".
std::string read(std::string_view body, std::size_t piece = 1 << 30, FormLimits limits = {},
                 std::string_view boundary = "XX") {
  MultipartParser parser(boundary, limits);
  std::string out;
  bool done = false;
  for (std::size_t at = 0; at < body.size();) {
    const std::string copy(body.substr(at, piece));  // its own allocation: a sanitizer sees every byte too many
    std::size_t used = 0;
    for (;;) {
      auto step = parser.next(copy.data() + used, copy.size() - used);
      used += step.consumed;
      using Event = MultipartParser::Event;
      if (step.event == Event::need_more) break;
      if (step.event == Event::error) return out + "!" + parser.error();
      if (step.event == Event::part_begin) out += parser.name() + "(" + parser.filename() + ")=";
      if (step.event == Event::data) out.append(step.data);
      if (step.event == Event::part_end) out += ";";
      if (step.event == Event::field) out += parser.name() + "=" + parser.value() + ";";
      if (step.event == Event::done) done = true;
    }
    EXPECT_EQ(used, copy.size());
    at += copy.size();
  }
  EXPECT_EQ(done, parser.done());
  return out + (done ? "done" : "...");
}

std::string field(std::string_view name, std::string_view value) {
  return "--XX\r\nContent-Disposition: form-data; name=\"" + std::string(name) + "\"\r\n\r\n" +
         std::string(value) + "\r\n";
}
std::string file(std::string_view filename, std::string_view value) {
  return "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"" + std::string(filename) +
         "\"\r\nContent-Type: text/plain\r\n\r\n" + std::string(value) + "\r\n";
}
const std::string kEnd = "--XX--\r\n";

TEST(Multipart, by_table_in_every_split) {
  const std::pair<std::string, std::string> cases[] = {
      {field("a", "1") + field("b", "") + kEnd, "a=1;b=;done"},
      {"\r\n" + field("a", "1") + kEnd, "a=1;done"},
      {file("x.txt", "content") + kEnd, "f(x.txt)=content;done"},
      {file("", "") + kEnd, "f()=;done"},
      {field("a", "\r\n--X\r\n--X\r\r\n--") + kEnd, "a=\r\n--X\r\n--X\r\r\n--;done"},
      {file("x", "\r\r\n\r\n-\r\n--\r\n--X") + kEnd, "f(x)=\r\r\n\r\n-\r\n--\r\n--X;done"},
      {"--XX \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--XX--", "a=1;done"},
      {field("a", "1") + kEnd + "epilogue of --XX\r\n\r\n", "a=1;done"},
      {kEnd, "done"},
      {"", "..."},
      {field("a", "1"), "..."},
      {file("x", "unfini"), "f(x)=unfini;..."},
      {"--XX\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nx--XX--", "a(b)=x--XX--..."},
      {"junk\r\n" + kEnd, "!Unexpected data before the first boundary."},
      {"--XY\r\n", "!Unexpected data before the first boundary."},
      {"--XXjunk\r\n", "!Malformed boundary in multipart."},
      {"--XX-\r\n", "!Malformed boundary in multipart."},
      {"--XX\r \n", "!Malformed boundary in multipart."},
      {"--XX\nContent-Disposition: form-data; name=a\n\n1\n--XX--", "!Malformed boundary in multipart."},
      {"--XX\r\nno colon\r\n\r\n", "!Malformed header in multipart."},
      {"--XX\r\nA B: x\r\n\r\n", "!Malformed header in multipart."},
      {"--XX\r\n: x\r\n\r\n", "!Malformed header in multipart."},
      {"--XX\r\nX: a\r\n b\r\n\r\n", "!Malformed header in multipart."},  // obs-fold
      {"--XX\r\nX: a\n\r\n", "!Malformed header in multipart."},
      {"--XX\r\nX: a\rb\r\n\r\n", "!Malformed header in multipart."},
      {"--XX\r\n\r\nx\r\n" + kEnd, "!The Content-Disposition header field \"name\" must be provided."},
      {"--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n",
       "!The Content-Disposition header field \"name\" must be provided."},
      {"--XX\r\nContent-Disposition: form-data\r\n\r\n",
       "!The Content-Disposition header field \"name\" must be provided."},
  };
  for (const auto& [body, expected] : cases) {
    const std::string whole = read(body);
    if (expected.ends_with("...") && !expected.starts_with("."))
      EXPECT_EQ(whole.substr(0, expected.find(';') == expected.npos ? 4 : expected.find(';')),
                expected.substr(0, expected.find(';') == expected.npos ? 4 : expected.find(';')))
          << body;
    else
      EXPECT_EQ(whole, expected) << body;
    for (std::size_t piece = 1; piece < std::min<std::size_t>(body.size(), 40); ++piece) {
      const std::string split = read(body, piece);
      if (whole.ends_with("...")) continue;  // how much of an unfinished part is out depends on the split
      EXPECT_EQ(split, whole) << piece << ": " << body;
    }
  }
}

// Starlette CVE-2024-47874, CVE-2026-54283; aiohttp CVE-2026-34516/7; python-multipart CVE-2026-42561
TEST(Multipart, advisory_limits_hold_while_parsing) {
  FormLimits limits;
  limits.max_fields = 2, limits.max_files = 1, limits.max_part_size = 2048;
  EXPECT_EQ(read(field("a", "1") + field("b", "2") + field("c", "3"), 7, limits),
            "a=1;b=2;!Too many fields. Maximum number of fields is 2.");
  EXPECT_EQ(read(file("a", "1") + file("b", "2"), 7, limits),
            "f(a)=1;!Too many files. Maximum number of files is 1.");
  EXPECT_EQ(read(field("a", std::string(2049, 'x')), 100, limits), "!Part exceeded maximum size of 2KB.");
  EXPECT_EQ(read(file("a", std::string(5000, 'x')) + kEnd, 100, limits),
            "f(a)=" + std::string(5000, 'x') + ";done");
  EXPECT_EQ(read("--XX\r\nX: " + std::string(9000, 'y'), 100),
            "!Headers of a multipart part are larger than 8192 bytes.");
  std::string many = "--XX\r\n";
  for (int i = 0; i < 20; ++i) many += "X: y\r\n";
  EXPECT_EQ(read(many, 100), "!A multipart part has more than 16 headers.");
}

// python-multipart CVE-2024-53981, CVE-2026-40347
TEST(Multipart, advisory_preamble_and_epilogue_are_limited) {
  EXPECT_EQ(read(std::string(5000, '\n') + kEnd),
            "!More than 1024 bytes before the first boundary of the multipart body.");
  EXPECT_EQ(read(kEnd + std::string(60'000, '\r')), "done");
  EXPECT_EQ(read(kEnd + std::string(70'000, '\r')),
            "!More than 65536 bytes after the last boundary of the multipart body.");
}

// aiohttp CVE-2024-30251, CVE-2025-69227; python-multipart CVE-2024-24762
TEST(Multipart, advisory_worst_inputs_take_linear_time) {
  const auto start = std::chrono::steady_clock::now();
  std::string almost;
  for (int i = 0; i < 150'000; ++i) almost += "\r\n--X";
  EXPECT_TRUE(read(file("a", almost) + kEnd, 1000).ends_with(";done"));
  EXPECT_TRUE(read(file("a", std::string(1 << 20, '\r')) + kEnd, 1).ends_with(";done"));
  std::string parameters = "form-data";
  for (int i = 0; i < 200'000; ++i) parameters += ";\\\"=";
  parse_parameters(parameters);
  parse_parameters("form-data; name=\"" + std::string(1 << 20, '\\'));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
}

// python-multipart CVE-2026-24486
TEST(Multipart, advisory_a_filename_is_never_a_path) {
  for (const char* name :
       {"../../etc/passwd", "/etc/passwd", "C:\\\\temp\\\\passwd", "\\\\\\\\server\\\\x\\\\passwd", "a/passwd"})
    EXPECT_EQ(read(file(name, "") + kEnd), "f(passwd)=;done") << name;
  EXPECT_EQ(base_name("a/"), "");
  EXPECT_EQ(base_name(""), "");
}

TEST(Multipart, boundaries) {
  for (const std::string& bad :
       {std::string(), std::string(257, 'x'), std::string("a\r\nb"), std::string("a\0b", 3)})
    EXPECT_THROW(MultipartParser(bad, {}), std::invalid_argument);
  const std::string longest(256, 'x');
  EXPECT_EQ(read("--" + longest + "--", 3, {}, longest), "done");
}

TEST(Parameters, by_table) {
  auto text = [](std::string_view field) {
    FieldParameters parsed = parse_parameters(field);
    std::string out = parsed.value;
    for (const auto& [name, value] : parsed.parameters) out += "|" + name + "=" + value;
    return out;
  };
  EXPECT_EQ(text("Text/HTML"), "text/html");
  EXPECT_EQ(text("a; B=c ;d=\"e;f\""), "a|b=c|d=e;f");
  EXPECT_EQ(text("a; b=\"x\\\"y\\\\z\\q\""), "a|b=x\"y\\z\\q");
  EXPECT_EQ(text("a; b=1; b=2"), "a|b=1");
  EXPECT_EQ(text("a; f=plain; f*=UTF-8''%c3%a9%20x"), "a|f=\xc3\xa9 x");
  EXPECT_EQ(text("a; f*=iso-8859-1'en'%e9"), "a|f=\xc3\xa9");
  EXPECT_EQ(text("a; f*=utf-16''x; f=ok"), "a|f=ok");
  EXPECT_EQ(text("a; =x; y; z=1"), "a|z=1");
  EXPECT_EQ(text("a; b=\"unfinished"), "a");
  EXPECT_EQ(text(""), "");
}

TEST(Urlencoded, in_every_split) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  const std::string body = "a=1&b=%C3%A9+x&&c&=d&e=f=g&a=2";
  const Pairs expected = {{"a", "1"}, {"b", "\xc3\xa9 x"}, {"c", ""}, {"", "d"}, {"e", "f=g"}, {"a", "2"}};
  for (std::size_t piece = 1; piece <= body.size(); ++piece) {
    UrlencodedParser parser({});
    Pairs out;
    for (std::size_t at = 0; at < body.size(); at += piece) ASSERT_TRUE(parser.feed(body.substr(at, piece), out));
    ASSERT_TRUE(parser.finish(out));
    EXPECT_EQ(out, expected) << piece;
  }
}

// Starlette CVE-2026-54283: the limits of multipart hold here too
TEST(Urlencoded, advisory_limits_hold_while_parsing) {
  FormLimits limits;
  limits.max_fields = 2, limits.max_part_size = 2048;
  std::vector<std::pair<std::string, std::string>> out;
  UrlencodedParser many(limits);
  EXPECT_FALSE(many.feed("a=1&b=2&c=3&", out));
  EXPECT_EQ(many.error(), "Too many fields. Maximum number of fields is 2.");
  EXPECT_EQ(out.size(), 2u);
  EXPECT_FALSE(many.feed("d=4", out));
  UrlencodedParser large(limits);
  bool good = true;
  for (int i = 0; i < 100 && good; ++i) good = large.feed(std::string(100, 'x'), out);
  EXPECT_FALSE(good);
  EXPECT_EQ(large.error(), "Field exceeded maximum size of 2KB.");
}

}  // namespace
}  // namespace fasterapi::http
