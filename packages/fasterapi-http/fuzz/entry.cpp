// The entry point of one fuzz target: FASTERAPI_FUZZ_TARGET names it.
#include "targets.hpp"

#ifndef FASTERAPI_FUZZ_TARGET
#define FASTERAPI_FUZZ_TARGET fuzz_request
#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fasterapi::http::fuzz::FASTERAPI_FUZZ_TARGET(data, size);
  return 0;
}

#ifdef FASTERAPI_FUZZ_STANDALONE
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

int main(int count, char** files) {
  for (int i = 1; i < count; ++i) {
    std::ifstream in(files[i], std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  std::printf("%d inputs\n", count - 1);
}
#endif
