#pragma once
// Fuzz targets of the codec: each takes any bytes and aborts when a promise of the headers is broken.
//   Run one:   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -DFASTERAPI_FUZZ_TARGET=fuzz_request
//                -I include -I src -I ../fasterapi-core/include fuzz/*.cpp src/parser/*.cpp src/router/*.cpp
//                src/response/*.cpp $(ls src/websocket/*.cpp | grep -v session) -lz -lcrypto -o fuzz_request
//              ./fuzz_request fuzz/corpus/request
//   Replay:    the corpora are a unit test (tests/cpp/corpus_test.cpp); -DFASTERAPI_FUZZ_STANDALONE gives a
//   program
//              that only replays the files it is given
#include <cstddef>
#include <cstdint>

namespace fasterapi::http::fuzz {

void fuzz_request(const std::uint8_t* data, std::size_t size);  // every tier, every cut: one verdict
void fuzz_chunked(const std::uint8_t* data, std::size_t size);  // any split: the same body and end
void fuzz_uri(const std::uint8_t* data, std::size_t size);      // decoding, comparing and query walking agree
/// First byte: limits and compression; the rest are a client's frames. Any split gives the same events and bounded
/// memory; what a message holds comes back when it is written and read again; every vector tier agrees.
void fuzz_websocket(const std::uint8_t* data, std::size_t size);
/// A header value as Sec-WebSocket-Extensions: what is agreed on is what a client may be answered.
void fuzz_websocket_offer(const std::uint8_t* data, std::size_t size);
void fuzz_multipart(const std::uint8_t* data, std::size_t size);  // any split: the same parts and the same end
void fuzz_router(const std::uint8_t* data, std::size_t size);  // a table of many = the first of many tables of one

}  // namespace fasterapi::http::fuzz
