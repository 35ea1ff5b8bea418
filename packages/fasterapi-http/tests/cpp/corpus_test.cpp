// Replays the fuzz corpora: what once was interesting stays checked.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "../../fuzz/targets.cpp"    // NOLINT: the targets are no library
#include "../../fuzz/websocket.cpp"  // NOLINT

namespace fasterapi::http::fuzz {
namespace {

using Target = void (*)(const std::uint8_t*, std::size_t);

void replay(const char* name, Target target) {
  std::mt19937 random(1);
  unsigned count = 0;
  auto folder = std::filesystem::path(FASTERAPI_HTTP_CORPUS) / name;  // of CMakeLists.txt
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(file.path(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    auto run = [&](const std::string& input) {
      target(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
      ++count;
    };
    run(bytes);
    for (std::size_t n = 0; n < bytes.size(); ++n) run(bytes.substr(0, n));
    for (int i = 0; i < 300; ++i) {
      std::string changed = bytes;
      for (unsigned k = 1 + random() % 4; k && !changed.empty(); --k)
        changed[random() % changed.size()] = static_cast<char>(random());
      run(changed);
    }
  }
  EXPECT_GT(count, 0u);
}

TEST(Corpus, Request) { replay("request", fuzz_request); }
TEST(Corpus, Chunked) { replay("chunked", fuzz_chunked); }
TEST(Corpus, Uri) { replay("uri", fuzz_uri); }
TEST(Corpus, Multipart) { replay("multipart", fuzz_multipart); }
TEST(Corpus, Router) { replay("router", fuzz_router); }
TEST(Corpus, WebSocket) { replay("websocket", fuzz_websocket); }
TEST(Corpus, WebSocketOffer) { replay("websocket_offer", fuzz_websocket_offer); }

}  // namespace
}  // namespace fasterapi::http::fuzz
