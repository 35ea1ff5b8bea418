// How long does a request head take to parse (cold, and as the repetition of the last one), and a route to find?
//   cmake -S . -B build/bench -G Ninja -DCMAKE_BUILD_TYPE=Release -DFASTERAPI_BENCH=ON && cmake --build
//   build/bench --target http_bench taskset -c 0 build/bench/packages/fasterapi-http/http_bench
//   --benchmark_repetitions=5
// Anchors on the machine of the project's goals: picohttpparser 18.8 / 51 / 174 ns (49 / 169 / 648 bytes), llhttp
// 67 / 126 / 363; matchit 17 / 37 ns (5 / 203 routes), httprouter 39 / 98. Compare ratios within one run, not
// across machines.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include <fasterapi/http/chunked.hpp>
#include <fasterapi/http/router.hpp>
#include "github_routes.hpp"
#include "parser/head.hpp"

namespace fasterapi::http {
namespace {

const std::string kRequests[] = {
    // 49 bytes: the least a client sends
    "GET /users/123 HTTP/1.1\r\nHost: localhost:8000\r\n\r\n",
    // 169 bytes: the shape of the well-known plaintext benchmarks
    "GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\n"
    "Accept: text/plain,text/html;q=0.9,application/xhtml+xml;q=0.9,application/xml;q=0.8,*/*;q=0.7\r\n"
    "Connection: keep-alive\r\n\r\n",
    // 648 bytes: a browser
    "GET /api/v1/items/42?limit=20&offset=40 HTTP/1.1\r\n"
    "Host: www.example.com:8000\r\n"
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\", \"Google Chrome\";v=\"128\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 "
    "Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: session=6f1c0e2b9a7d4c55; theme=dark; csrftoken=Zk3uQ1xv8s0aP\r\n"
    "\r\n"};

void parse(benchmark::State& state, const Tier* tier, int which) {
  const std::string& request = kRequests[which];
  std::string padded = request + std::string(kReadPadding, 0);
  const Limits limits = clamped({});
  RequestHead head;
  for (auto _ : state) {
    head.reset();
    benchmark::ClobberMemory();
    ParseResult result = tier->parse(padded.data(), request.size(), limits, head);
    if (!result.complete()) state.SkipWithError("not parsed");
    benchmark::DoNotOptimize(head.field_count);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * request.size()));
}

/// `lines`: how many different request lines the connection sends in turn.
void memo(benchmark::State& state, int which, int lines) {
  std::vector<std::string> requests;
  for (int i = 0; i < lines; ++i) {
    std::string request = kRequests[which];
    if (i) request.insert(request.find('/') + 1, std::string(1 + i % 20, static_cast<char>('a' + i % 26)));
    requests.push_back(request + std::string(kReadPadding, 0));
  }
  const Limits limits = clamped({});
  RequestHead head;
  HeaderMemo known;
  std::size_t next = 0;
  for (auto _ : state) {
    const std::string& request = requests[next];
    if (++next == requests.size()) next = 0;
    head.reset();
    benchmark::ClobberMemory();
    if (!parse_request(request.data(), request.size() - kReadPadding, limits, head, known).complete())
      state.SkipWithError("not parsed");
    benchmark::DoNotOptimize(head.field_count);
  }
}

std::string filled(const std::string& pattern) {
  static const char* const kValues[] = {
      "julienschmidt", "httprouter", "12345", "v1", "aa218f56b14c9653891f9e74264a383fa43fefbd", "bob"};
  std::string path;
  unsigned n = 0;
  for (std::size_t i = 0; i < pattern.size();) {
    if (pattern[i] != '{') {
      path += pattern[i++];
      continue;
    }
    path += kValues[(n++ + pattern.size()) % 6];
    i = pattern.find('}', i) + 1;
  }
  return path;
}

void route(benchmark::State& state, bool github, RouteOrder order) {
  std::vector<std::pair<std::string_view, std::string>> routes;
  if (github)
    routes = bench::github_routes();
  else
    for (auto p : {"/", "/health", "/users", "/users/{id}", "/users/{id}/posts/{post_id}"})
      routes.emplace_back("GET", p);
  RouteTable table(order);
  std::vector<std::pair<Method, std::string>> requests;
  std::vector<std::size_t> sizes;
  for (std::uint32_t i = 0; i < routes.size(); ++i) {
    Method method = method_from(routes[i].first);
    if (table.insert(method_bit(method), routes[i].second, i)) return state.SkipWithError("insert");
    requests.emplace_back(method, filled(routes[i].second));
  }
  if (table.freeze()) return state.SkipWithError("freeze");
  std::shuffle(requests.begin(), requests.end(), std::mt19937(7));
  for (auto& [method, path] : requests) {
    sizes.push_back(path.size());
    path += std::string(kReadPadding, 0);
  }
  std::size_t next = 0;
  for (auto _ : state) {
    Match match;
    if (!table.match(requests[next].first, {requests[next].second.data(), sizes[next]}, match))
      state.SkipWithError("not found");
    benchmark::DoNotOptimize(match.id);
    if (++next == requests.size()) next = 0;
  }
}

void chunked(benchmark::State& state, std::size_t chunk) {
  std::string body;
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", chunk);
  for (int i = 0; i < 100; ++i) body += size + std::string(chunk, 'x') + "\r\n";
  body += "0\r\n\r\n";
  const Limits limits;
  for (auto _ : state) {
    ChunkedDecoder decoder;
    std::size_t at = 0;
    while (!decoder.done()) at += decoder.next(body.data() + at, body.size() - at, limits).consumed;
    benchmark::DoNotOptimize(at);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * body.size()));
}

int add_all() {
  for (const Tier* tier : all_tiers()) {
    if (!tier->supported()) continue;
    for (int which = 0; which < 3; ++which)
      benchmark::RegisterBenchmark(
          ("parse/" + std::string(tier->name) + "/" + std::to_string(kRequests[which].size())).c_str(), parse,
          tier, which);
  }
  for (int which = 0; which < 3; ++which)
    for (int lines : {1, 64})
      benchmark::RegisterBenchmark(
          ("memo/" + std::to_string(kRequests[which].size()) + "/lines:" + std::to_string(lines)).c_str(), memo,
          which, lines);
  benchmark::RegisterBenchmark("route/5", route, false, RouteOrder::registration);
  benchmark::RegisterBenchmark("route/203", route, true, RouteOrder::specificity);
  benchmark::RegisterBenchmark("chunked/1B", chunked, std::size_t{1});
  benchmark::RegisterBenchmark("chunked/4KiB", chunked, std::size_t{4096});
  return 0;
}
[[maybe_unused]] const int kAdded = add_all();

}  // namespace
}  // namespace fasterapi::http

BENCHMARK_MAIN();
