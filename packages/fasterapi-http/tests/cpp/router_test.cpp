// Route tables against a slow model (regular expressions, one route after the other), in every tier, and by
// example.
#include <gtest/gtest.h>

#include <random>
#include <regex>
#include <string>
#include <vector>

#include <fasterapi/http/router.hpp>
#include <fasterapi/http/uri.hpp>

#include "guarded_buffer.hpp"
#include "router/table.hpp"

namespace fasterapi::http {
namespace {

using testing::GuardedBuffer;

constexpr MethodSet kGet = method_bit(Method::get), kPost = method_bit(Method::post);

struct Found {
  Match::Kind kind;
  int id = -1;
  std::vector<std::string> captures;
  bool operator==(const Found&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Found& f) {
  out << "kind " << static_cast<int>(f.kind) << " id " << f.id;
  for (auto& c : f.captures) out << " [" << c << "]";
  return out;
}

Found look(const RouteTable& table, std::string_view path, MethodSet method = kGet) {
  static GuardedBuffer buffer;
  Match match;
  bool found = table.match(method, {buffer.put(path), path.size()}, match);
  Found out{match.kind, -1, {}};
  EXPECT_EQ(found, match.kind == Match::Kind::found);
  if (!found) return out;
  out.id = static_cast<int>(match.id);
  for (unsigned i = 0; i < match.capture_count; ++i) {
    EXPECT_EQ(match.captures[i].encoded, match.captures[i].view().find('%') != std::string_view::npos);
    out.captures.push_back(percent_decoded(match.captures[i].view()));
  }
  return out;
}

RouteTable table_of(const std::vector<std::string>& patterns, RouteOrder order = RouteOrder::registration) {
  RouteTable table(order);
  for (std::uint32_t i = 0; i < patterns.size(); ++i) {
    RouteError error = table.insert(kGet, patterns[i], i);
    EXPECT_FALSE(error) << error.text;
  }
  RouteError error = table.freeze();
  EXPECT_FALSE(error) << error.text;
  return table;
}

Found found(int id, std::vector<std::string> captures = {}) {
  return {Match::Kind::found, id, std::move(captures)};
}
const Found kNothing{Match::Kind::not_found, -1, {}};

TEST(Router, TextParameterAndPath) {
  RouteTable t = table_of({"/", "/users", "/users/{id}", "/users/{id}/posts/{post}", "/files/{rest:path}"});
  EXPECT_EQ(look(t, "/"), found(0));
  EXPECT_EQ(look(t, "/users"), found(1));
  EXPECT_EQ(look(t, "/users/7"), found(2, {"7"}));
  EXPECT_EQ(look(t, "/users/7/posts/x%20y"), found(3, {"7", "x y"}));
  EXPECT_EQ(look(t, "/files/a/b//c"), found(4, {"a/b//c"}));
  EXPECT_EQ(look(t, "/files/"), found(4, {""}));
  EXPECT_EQ(look(t, "/files"), kNothing);
  EXPECT_EQ(look(t, "/users/"), kNothing);
  EXPECT_EQ(look(t, "//users"), kNothing);
  EXPECT_EQ(look(t, "/Users"), kNothing);
  EXPECT_EQ(look(t, "*"), kNothing);
  EXPECT_EQ(look(t, ""), kNothing);
}

TEST(Router, RegistrationOrderIsFastApis) {
  RouteTable t = table_of({"/users/{id}", "/users/me", "/users/{id:int}"});
  EXPECT_EQ(look(t, "/users/me"), found(0, {"me"}));
  EXPECT_EQ(look(t, "/users/7"), found(0, {"7"}));
  EXPECT_EQ(look(table_of({"/users/me", "/users/{id}"}), "/users/me"), found(0));
}

TEST(Router, SpecificityPrefersTextThenTypedThenPlainThenPath) {
  RouteTable t = table_of(
      {"/{rest:path}", "/{a}", "/{a:int}", "/x{a}", "/me", "/{a:uuid}", "/{a:float}", "/me/{b}", "/{a}/b"},
      RouteOrder::specificity);
  EXPECT_EQ(look(t, "/me"), found(4));
  EXPECT_EQ(look(t, "/xylo"), found(3, {"ylo"}));
  EXPECT_EQ(look(t, "/12"), found(2, {"12"}));
  EXPECT_EQ(look(t, "/1.5"), found(6, {"1.5"}));
  EXPECT_EQ(look(t, "/you"), found(1, {"you"}));
  EXPECT_EQ(look(t, "/c6a0e0b4-5f0e-4b0e-9d0a-0123456789ab"), found(5, {"c6a0e0b4-5f0e-4b0e-9d0a-0123456789ab"}));
  EXPECT_EQ(look(t, "/me/b"), found(7, {"b"}));
  EXPECT_EQ(look(t, "/you/b"), found(8, {"you"}));
  EXPECT_EQ(look(t, "/you/c"), found(0, {"you/c"}));
}

TEST(Router, ConflictsAreReportedInSpecificityOrder) {
  RouteTable t(RouteOrder::specificity);
  EXPECT_FALSE(t.insert(kGet, "/a/{x}", 0));
  EXPECT_FALSE(t.insert(kPost, "/a/{y}", 1));
  EXPECT_FALSE(t.insert(kGet | kPost, "/a/{z}", 2));
  RouteError error = t.freeze();
  EXPECT_TRUE(error.conflict);
  EXPECT_NE(error.text.find("'/a/{z}'"), std::string::npos) << error.text;
  RouteTable first_wins = table_of({"/a/{x}", "/a/{y}"});
  EXPECT_EQ(look(first_wins, "/a/1"), found(0, {"1"}));
}

TEST(Router, ConvertersAreCheckedDuringTheMatch) {
  RouteTable t = table_of({"/i/{x:int}", "/f/{x:float}", "/u/{x:uuid}"});
  for (auto good : {"/i/0", "/i/0123456789012345678901234567890"}) EXPECT_EQ(look(t, good).id, 0) << good;
  for (auto bad : {"/i/", "/i/-1", "/i/1x", "/i/+1", "/i/1.0", "/i/%31x"})
    EXPECT_EQ(look(t, bad), kNothing) << bad;
  EXPECT_EQ(look(t, "/i/%31%32"), found(0, {"12"}));
  for (auto good : {"/f/1", "/f/1.25"}) EXPECT_EQ(look(t, good).id, 1) << good;
  for (auto bad : {"/f/1.", "/f/.5", "/f/1e3", "/f/nan"}) EXPECT_EQ(look(t, bad), kNothing) << bad;
  for (auto good : {"/u/c6a0e0b45f0e4b0e9d0a0123456789AB", "/u/c6a0e0b4-5f0e-4b0e-9d0a-0123456789ab"})
    EXPECT_EQ(look(t, good).id, 2) << good;
  for (auto bad : {"/u/c6a0e0b45f0e4b0e9d0a0123456789A", "/u/c6a0e0b4--5f0e-4b0e-9d0a-0123456789ab"})
    EXPECT_EQ(look(t, bad), kNothing) << bad;
}

TEST(Router, TextAndParametersShareSegments) {
  RouteTable t = table_of({"/files/{name}.json", "/{a}-{b}/x", "/@{user}",
                           "/v{major:int}.{minor:int}/{rest:path}/end", "/{a:float}x{b}"});
  EXPECT_EQ(look(t, "/files/a.b.json"), found(0, {"a.b"}));
  EXPECT_EQ(look(t, "/files/.json"), kNothing);
  EXPECT_EQ(look(t, "/a-b-c/x"), found(1, {"a-b", "c"}));
  EXPECT_EQ(look(t, "/-b/x"), kNothing);
  EXPECT_EQ(look(t, "/@me"), found(2, {"me"}));
  EXPECT_EQ(look(t, "/v1.20/a/b/end"), found(3, {"1", "20", "a/b"}));
  EXPECT_EQ(look(t, "/v1.x/a/end"), kNothing);
  EXPECT_EQ(look(t, "/1.5xz"), found(4, {"1.5", "z"}));
}

TEST(Router, EncodedSlashIsDataAndEncodedTextMatches) {
  RouteTable t = table_of({"/caf\xc3\xa9/{x}", "/a/{x}", "/a/{x}/b", "/p/{rest:path}", "/m/{x}.{y}"});
  EXPECT_EQ(look(t, "/caf%C3%A9/1"), found(0, {"1"}));
  EXPECT_EQ(look(t, "/a/x%2Fb"), found(1, {"x/b"}));
  EXPECT_EQ(look(t, "/a%2Fx"), kNothing);
  EXPECT_EQ(look(t, "/%61/x"), found(1, {"x"}));
  EXPECT_EQ(look(t, "/p/a%2Fb/c"), found(3, {"a/b/c"}));
  EXPECT_EQ(look(t, "/m/%2F%41.b%2e"), found(4, {"/A", "b."}));
  EXPECT_EQ(look(t, "/m/%41.b"), found(4, {"A", "b"}));
  EXPECT_EQ(look(t, "/a/%zz"), found(1, {"%zz"}));
}

TEST(Router, LongTextsAreVerifiedToTheLastByte) {
  std::string longer = "/a-segment-that-is-longer-than-sixteen-bytes";
  RouteTable t = table_of({longer, longer + "/{x}"});
  EXPECT_EQ(look(t, longer), found(0));
  std::string other = longer;
  other[20] = '_';
  EXPECT_EQ(look(t, other), kNothing);
  EXPECT_EQ(look(t, longer + "/1"), found(1, {"1"}));
}

TEST(Router, WrongMethodTellsWhatIsAllowed) {
  RouteTable t(RouteOrder::registration, true);
  std::string_view custom[] = {"PURGE", "GET"};
  EXPECT_FALSE(t.insert(kGet, "/a/{x}", 0));
  EXPECT_FALSE(t.insert(kPost, "/a/b", 1));
  EXPECT_FALSE(t.insert(t.method_set(custom), "/c", 2));
  EXPECT_FALSE(t.freeze());
  Match m;
  std::string path = "/a/b" + std::string(kReadPadding, 'x');
  EXPECT_FALSE(t.match(Method::put, std::string_view(path).substr(0, 4), m));
  EXPECT_EQ(m.kind, Match::Kind::wrong_method);
  EXPECT_EQ(t.method_names(m.allowed), "GET, HEAD, POST");
  EXPECT_EQ(look(t, "/a/b", kPost), found(1));
  EXPECT_EQ(look(t, "/a/b", method_bit(Method::head)), found(0, {"b"}));
  EXPECT_EQ(look(t, "/c", t.bit(Method::other, "PURGE")), found(2));
  EXPECT_EQ(look(t, "/c", t.bit(Method::other, "BREW")).kind, Match::Kind::wrong_method);
  EXPECT_EQ(look(t, "/nowhere", kPost), kNothing);
}

TEST(Router, OtherSlash) {
  RouteTable t = table_of({"/a/", "/b", "/c/{x}"});
  EXPECT_TRUE(t.matches_with_other_slash("/a"));
  EXPECT_TRUE(t.matches_with_other_slash("/b/"));
  EXPECT_TRUE(t.matches_with_other_slash("/c/1/"));
  EXPECT_FALSE(t.matches_with_other_slash("/"));
  EXPECT_FALSE(t.matches_with_other_slash("/d"));
}

TEST(Router, BadPatternsAreRefusedWithAReason) {
  RouteTable t;
  for (auto bad : {"", "a", "/{", "/}", "/{}", "/{1a}", "/{a:nope}", "/{a}/{a}", "/a{b}}"}) {
    RouteError error = t.insert(kGet, bad, 0);
    EXPECT_TRUE(error) << bad;
  }
  EXPECT_TRUE(t.insert(0, "/a", 0));
}

TEST(Router, VeryManySegments) {
  std::string path;
  for (int i = 0; i < 40; ++i) path += "/s" + std::to_string(i);
  RouteTable t = table_of({"/{a}", "/s0/{rest:path}"});
  EXPECT_EQ(look(t, path), found(1, {path.substr(4)}));
  EXPECT_EQ(look(t, path + "/%41").captures, std::vector<std::string>{path.substr(4) + "/A"});
  EXPECT_EQ(look(t, std::string(3000, '/')), kNothing);
}

TEST(Router, ThousandsOfRoutes) {
  std::vector<std::string> patterns;
  for (int i = 0; i < 5000; ++i) {
    patterns.push_back("/static/item" + std::to_string(i));
    patterns.push_back("/r" + std::to_string(i) + "/{x}");
  }
  RouteTable t = table_of(patterns);
  for (int i = 0; i < 5000; i += 7) {
    EXPECT_EQ(look(t, "/static/item" + std::to_string(i)), found(2 * i));
    EXPECT_EQ(look(t, "/r" + std::to_string(i) + "/v"), found(2 * i + 1, {"v"}));
  }
  EXPECT_EQ(look(t, "/static/item5000"), kNothing);
}

// --- the slow model ------------------------------------------------------------------------------------------
std::regex model_regex(const std::string& pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size();) {
    if (pattern[i] != '{') {
      if (std::string("().-[]*+?^$|\\").find(pattern[i]) != std::string::npos) out += '\\';
      out += pattern[i++];
      continue;
    }
    std::size_t close = pattern.find('}', i);
    std::string inside = pattern.substr(i + 1, close - i - 1), kind = "str";
    if (auto colon = inside.find(':'); colon != inside.npos) kind = inside.substr(colon + 1);
    out += kind == "int"     ? "([0-9]+)"
           : kind == "float" ? "([0-9]+(?:\\.[0-9]+)?)"
           : kind == "path"  ? "([\\s\\S]*)"
           : kind == "uuid"  ? "([0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12})"
                             : "([^/]+)";
    i = close + 1;
  }
  return std::regex(out);
}

/// The path with each segment decoded and encoded slashes as data.
std::string model_path(const std::string& raw) {
  std::string out;
  for (std::size_t at = 0; at <= raw.size();) {
    std::size_t end = std::min(raw.find('/', at), raw.size());
    std::string segment = percent_decoded(raw.substr(at, end - at));
    for (char& c : segment)
      if (c == '/') c = router::kEncodedSlash;
    out += segment;
    if (end < raw.size()) out += '/';
    at = end + 1;
  }
  return out;
}

TEST(Router, RandomTablesMatchTheModelInEveryTier) {
  std::mt19937 random(11);
  auto pick = [&](const std::vector<std::string>& from) { return from[random() % from.size()]; };
  const std::vector<std::string> texts = {
      "a", "b", "users", "a-longer-static-segment", "a-longer-static-segmenu", "12", "x.json", "", "A b"};
  const std::vector<std::string> shapes = {"{%}",      "{%}",      "{%:int}", "{%:float}",   "{%:uuid}",
                                           "{%}.json", "v{%:int}", "{%}-{%}", "{%:int}.{%}", "{%:float}{%}"};
  const std::vector<std::string> values = {"a",
                                           "b",
                                           "users",
                                           "a-longer-static-segment",
                                           "a-longer-static-segmenu",
                                           "12",
                                           "1.5",
                                           "x.json",
                                           "",
                                           "v7",
                                           "p-q-r",
                                           "3.y",
                                           "c6a0e0b45f0e4b0e9d0a0123456789ab",
                                           "%61",
                                           "A%20b",
                                           "x%2Fy",
                                           "%",
                                           "1.2.3",
                                           "--"};
  GuardedBuffer buffer;
  for (int round = 0; round < 60; ++round) {
    unsigned routes = round % 3 == 0 ? 150 : 1 + random() % 12;
    std::vector<std::string> patterns;
    for (unsigned r = 0; r < routes; ++r) {
      std::string pattern;
      int name = 0;
      auto named = [&](std::string shape) {
        for (std::size_t at; (at = shape.find('%')) != shape.npos;)
          shape.replace(at, 1, "p" + std::to_string(name++));
        return shape;
      };
      for (unsigned s = 1 + random() % 3; s; --s)
        pattern += "/" + (random() % 2 ? pick(texts) : named(pick(shapes)));
      if (random() % 6 == 0)
        pattern += named(pick({"/{%:path}", "/x{%:path}", "/{%:path}/b", "/{%:path}/{%}", "/{%:path}/{%:path}"}));
      patterns.push_back(pattern);
    }
    RouteTable table = table_of(patterns);
    std::vector<std::regex> models;
    for (auto& p : patterns) models.push_back(model_regex(p));
    for (int request = 0; request < 150; ++request) {
      std::string path;
      for (unsigned s = 1 + random() % 4; s; --s) path += "/" + pick(values);
      std::string plain = model_path(path);
      Found wanted = kNothing;
      for (std::size_t r = 0; r < models.size(); ++r) {
        std::smatch groups;
        if (!std::regex_match(plain, groups, models[r])) continue;
        wanted = found(static_cast<int>(r));
        for (std::size_t g = 1; g < groups.size(); ++g) {
          std::string value = groups[g];
          for (char& c : value)
            if (c == router::kEncodedSlash) c = '/';
          wanted.captures.push_back(value);
        }
        break;
      }
      Found got = look(table, path);
      ASSERT_EQ(got, wanted) << path << "\n"
                             << (got.id >= 0 ? patterns[got.id] : "") << "\n"
                             << (wanted.id >= 0 ? patterns[wanted.id] : "");
    }
  }
  for (unsigned tier = 0; tier < router::kMatchTierCount; ++tier) {
    const router::MatchTier& one = *router::kMatchTiers[tier];
    if (!one.supported()) continue;
    for (int round = 0; round < 20000; ++round) {
      std::string path = "/";
      for (unsigned n = random() % 200; n; --n) path += "/ab%x"[random() % 5];
      router::Cut a{}, b{};
      const char* at = buffer.put(path, random() % 64);
      one.cut(at, path.size(), a);
      router::kMatchTiers[router::kMatchTierCount - 1]->cut(at, path.size(), b);
      ASSERT_EQ(a.count, b.count) << one.name << " " << path;
      ASSERT_EQ(a.encoded, b.encoded) << one.name << " " << path;
      for (unsigned i = 0; i <= a.count; ++i) ASSERT_EQ(a.starts[i], b.starts[i]) << one.name << " " << path;
    }
  }
}

}  // namespace
}  // namespace fasterapi::http
