// The registry: series, text, several processes, and what happens when there is no room.
#include <fasterapi/core/metrics.hpp>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <fasterapi/core/error.hpp>

namespace fasterapi::core::metrics {
namespace {

std::shared_ptr<SharedBlock> block() { return SharedBlock::create({.slots = 6, .cells = 4096, .entries = 2048}); }

std::string lines_of(Registry& registry, const std::string& name, Format format = Format::kPrometheus) {
  std::string found;
  const std::string text = registry.text(format);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    if (line.find(name) != std::string::npos) found += line + '\n';
    at = end + 1;
  }
  return found;
}

TEST(Metrics, CounterGaugeAndHistogramAsText) {
  Registry registry(block());
  const Label get[] = {{"method", "GET"}, {"path", "/a\"b\\c\nd"}};
  registry.counter("http_requests_total", "Requests\nserved \\ all.", get).add(3);
  registry.float_counter("busy_seconds_total", "").add(1.5);
  registry.gauge("connections", "Open \"now\".").set(7);
  const double bounds[] = {0.1, 1, 10};
  Histogram latency = registry.histogram("latency_seconds", "How long.", bounds);
  for (double value : {0.05, 0.1, 0.5, 20.0}) latency.observe(value);
  EXPECT_EQ(lines_of(registry, "http_requests"),
            "# HELP http_requests_total Requests\\nserved \\\\ all.\n"
            "# TYPE http_requests_total counter\n"
            "http_requests_total{method=\"GET\",path=\"/a\\\"b\\\\c\\nd\"} 3\n");
  EXPECT_EQ(lines_of(registry, "busy_"), "# TYPE busy_seconds_total counter\nbusy_seconds_total 1.5\n");
  EXPECT_EQ(lines_of(registry, "connections"),
            "# HELP connections Open \"now\".\n# TYPE connections gauge\nconnections 7.0\n");
  EXPECT_EQ(lines_of(registry, "latency"),
            "# HELP latency_seconds How long.\n"
            "# TYPE latency_seconds histogram\n"
            "latency_seconds_bucket{le=\"0.1\"} 2\n"
            "latency_seconds_bucket{le=\"1.0\"} 3\n"
            "latency_seconds_bucket{le=\"10.0\"} 3\n"
            "latency_seconds_bucket{le=\"+Inf\"} 4\n"
            "latency_seconds_sum 20.65\n"
            "latency_seconds_count 4\n");
  EXPECT_EQ(lines_of(registry, "connections", Format::kOpenMetrics),
            "# HELP connections Open \\\"now\\\".\n# TYPE connections gauge\nconnections 7.0\n");
  EXPECT_EQ(lines_of(registry, "busy_", Format::kOpenMetrics),
            "# TYPE busy_seconds counter\nbusy_seconds_total 1.5\n");
  EXPECT_TRUE(registry.text(Format::kOpenMetrics).ends_with("# EOF\n"));
  EXPECT_EQ(latency.count_here(), 4u);
}

TEST(Metrics, ExtremeValuesOfAHistogramFallIntoTheLastRange) {
  Registry registry(block());
  Histogram h = registry.histogram("h", "", exponential_bounds(1, 2, 4));
  h.observe(std::numeric_limits<double>::infinity());
  h.observe(std::nan(""));
  h.observe(-std::numeric_limits<double>::infinity());
  h.observe(8);
  const std::string text = lines_of(registry, "h_bucket");
  EXPECT_NE(text.find("le=\"1.0\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("le=\"8.0\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("le=\"+Inf\"} 4\n"), std::string::npos);
  EXPECT_NE(lines_of(registry, "h_sum").find("NaN"), std::string::npos);
}

TEST(Metrics, SameSeriesIsTheSameCellAndAnotherDefinitionIsRefused) {
  Registry registry(block());
  Counter a = registry.counter("c", "help"), b = registry.counter("c", "help");
  a.add();
  EXPECT_EQ(b.here(), 1u);
  EXPECT_THROW(registry.counter("c", "other help"), Error);
  EXPECT_THROW(registry.gauge("c", "help"), Error);
  const Label label[] = {{"x", "1"}};
  EXPECT_THROW(registry.counter("c", "help", label), Error);
  for (const char* name : {"", "1a", "a b", "a-b", "a{", "a\n", "\xc3\xa9"})
    EXPECT_THROW(registry.counter(name, ""), Error);
  for (const char* name : {"", "a:b", "__x", "1"}) {
    const Label bad[] = {{name, ""}};
    EXPECT_THROW(registry.counter("d", "", bad), Error) << name;
  }
  const Label twice[] = {{"x", ""}, {"x", ""}};
  EXPECT_THROW(registry.counter("d", "", twice), Error);
  const Label le[] = {{"le", ""}};
  EXPECT_THROW(registry.histogram("d", "", default_bounds(), le), Error);
  const double falling[] = {2, 1}, same[] = {1, 1}, infinite[] = {1, INFINITY};
  EXPECT_THROW(registry.histogram("d", "", falling), Error);
  EXPECT_THROW(registry.histogram("d", "", same), Error);
  EXPECT_THROW(registry.histogram("d", "", infinite), Error);
  EXPECT_THROW(registry.histogram("d", "", std::vector<double>(65)), Error);
  EXPECT_EQ(registry.text().find("TYPE d "), std::string::npos);  // what was refused left nothing
}

TEST(Metrics, SeriesBeyondTheLimitCountNowhereAndAreCounted) {
  Registry registry(block());
  for (int i = 0; i < 1005; ++i) {
    const std::string value = std::to_string(i);
    const Label label[] = {{"user", value}};
    registry.counter("by_user", "", label).add();
  }
  const std::string text = lines_of(registry, "by_user{");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1000);
  EXPECT_NE(registry.text().find("fasterapi_metrics_series_left_out_total 5\n"), std::string::npos);
}

TEST(Metrics, FullBlockGivesHandlesThatAreSafeToUse) {
  Registry registry(SharedBlock::create({.slots = 1, .cells = 64, .entries = 16, .text_bytes = 1024}));
  for (int i = 0; i < 40; ++i) {
    const std::string name = "m" + std::to_string(i);
    registry.counter(name, "").add();
    registry.histogram(name + "h", "", default_bounds()).observe(1);
  }
  EXPECT_NE(registry.text().find("m0 1\n"), std::string::npos);
}

TEST(Metrics, AnyProcessTellsTheTotalsOfAllAlsoOfThoseThatWereKilled) {
  auto shared = block();
  Registry registry(shared);
  Gauge open = registry.gauge("open", "");
  open.set(1);
  std::vector<pid_t> pids;
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  for (int i = 0; i < 4; ++i) {
    pids.push_back(::fork());
    if (pids.back() == 0) {
      Registry mine(SharedBlock::attach(shared->fd()));
      const std::string worker = std::to_string(i % 2);
      const Label label[] = {{"kind", worker}};
      Counter requests = mine.counter("requests_total", "Served.", label);
      Histogram sizes = mine.histogram("size", "", exponential_bounds(1, 10, 3));
      mine.gauge("open", "").set(10);
      mine.gauge("oldest", "", {}, Merge::kMax).set(i);
      for (int n = 0; n < 1000; ++n) {
        requests.add();
        sizes.observe(n);
      }
      char done = 'x';
      if (::write(pipes[1], &done, 1) != 1) ::_exit(1);
      ::pause();
    }
  }
  char done;
  for (int i = 0; i < 4; ++i) ASSERT_EQ(::read(pipes[0], &done, 1), 1);
  EXPECT_EQ(lines_of(registry, "open "), "# TYPE open gauge\nopen 41.0\n");
  EXPECT_EQ(lines_of(registry, "oldest "), "# TYPE oldest gauge\noldest 3.0\n");
  for (pid_t pid : pids) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  EXPECT_EQ(lines_of(registry, "requests_total{"),
            "requests_total{kind=\"0\"} 2000\nrequests_total{kind=\"1\"} 2000\n");
  EXPECT_EQ(lines_of(registry, "size_count"), "size_count 4000\n");
  EXPECT_EQ(lines_of(registry, "size_sum"), "size_sum 1998000.0\n");
  EXPECT_EQ(lines_of(registry, "open "), "# TYPE open gauge\nopen 1.0\n");  // gauges end with their process
  ::close(pipes[0]);
  ::close(pipes[1]);
}

TEST(Metrics, ThreadsRegisterAndReadTogether) {
  Registry registry(block());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const std::string value = std::to_string(i);
        const Label label[] = {{"i", value}};
        registry.counter("shared_total", "", label).add_from_any_thread();
        if (i % 20 == t) registry.text();
      }
    });
  for (auto& thread : threads) thread.join();
  const std::string text = lines_of(registry, "shared_total{");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 100);
  EXPECT_NE(text.find("shared_total{i=\"7\"} 4\n"), std::string::npos);
}

}  // namespace
}  // namespace fasterapi::core::metrics
