// The program of docs/logging.md: a Python test compares the two, this one runs it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

// [names]
#include <fasterapi/core/log.hpp>
namespace log = fasterapi::core::log;

static log::Logger& mine = log::logger("myapp.gate");
// [end]

namespace {

class Lines final : public log::Sink {
 public:
  void write(const log::Record& record) noexcept override {
    texts.push_back(std::string(record.logger->name()) + ": " + std::string(record.text()));
  }
  std::vector<std::string> texts;
};

TEST(LoggingGuide, lines) {
  Lines lines;
  log::Sink* before = log::set_sink(&lines);
  const char* client = "10.0.0.7";
  // [lines]
  FASTERAPI_LOG_WARNING(mine, "token of %s refused", client);
  FASTERAPI_LOG_FIELDS(mine, log::Level::kWarning, log::fields(log::Field("client", client)), "token refused");
  // [end]
  log::set_sink(before);
  EXPECT_EQ(lines.texts, (std::vector<std::string>{"myapp.gate: token of 10.0.0.7 refused",
                                                   "myapp.gate: token refused client=10.0.0.7"}));
}

}  // namespace
