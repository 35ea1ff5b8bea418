// A BIO over the caller's own buffers: OpenSSL's memory BIOs copy once more in each direction, and never give back
// what a burst has made them allocate.
#include <algorithm>
#include <climits>
#include <cstring>
#include <new>

#include "internal.hpp"

namespace fasterapi::core::tls {
namespace {

Transport& transport_of(BIO* bio) noexcept { return *static_cast<Transport*>(BIO_get_data(bio)); }

int bio_read(BIO* bio, char* to, int capacity) noexcept {
  BIO_clear_retry_flags(bio);
  Transport& transport = transport_of(bio);
  if (!to || capacity <= 0) return 0;
  std::size_t taken = 0;
  const auto wanted = static_cast<std::size_t>(capacity);
  if (const std::size_t waiting = transport.rest.size() - transport.rest_taken) {
    taken = std::min(waiting, wanted);
    std::memcpy(to, transport.rest.data() + transport.rest_taken, taken);
    transport.rest_taken += taken;
  }
  if (const std::size_t part = std::min(transport.input.size(), wanted - taken)) {
    std::memcpy(to + taken, transport.input.data(), part);
    transport.input.remove_prefix(part);
    taken += part;
  }
  if (taken) return static_cast<int>(taken);
  if (transport.eof) return 0;
  BIO_set_retry_read(bio);
  return -1;
}

int bio_write(BIO* bio, const char* from, int size) noexcept {
  BIO_clear_retry_flags(bio);
  Transport& transport = transport_of(bio);
  if (!transport.out || size < 0) return -1;
  try {
    transport.out->append({from, static_cast<std::size_t>(size)});
  } catch (const std::bad_alloc&) {  // thrown again once OpenSSL's frames are left
    transport.out_of_memory = true;
    return -1;
  }
  return size;
}

long bio_control(BIO* bio, int command, long, void*) noexcept {
  switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return transport_of(bio).eof && transport_of(bio).empty();
    default: return 0;
  }
}

BIO_METHOD* make_method() noexcept {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fasterapi");
  if (!method) return nullptr;
  BIO_meth_set_read(method, bio_read);
  BIO_meth_set_write(method, bio_write);
  BIO_meth_set_ctrl(method, bio_control);
  return method;
}

}  // namespace

void Transport::settle() {
  if (rest_taken == rest.size()) {
    rest = OutBuffer();
    rest_taken = 0;
  }
  if (input.empty()) return;
  if (rest_taken) {
    rest.erase_front(rest_taken);
    rest_taken = 0;
  }
  rest.append(input);
  input = {};
}

BIO* make_bio(Transport& transport) {
  static BIO_METHOD* const method = make_method();  // for the life of the process: sessions use it to the end
  BIO* bio = method ? BIO_new(method) : nullptr;
  if (!bio) return nullptr;
  BIO_set_data(bio, &transport);
  BIO_set_init(bio, 1);
  return bio;
}

}  // namespace fasterapi::core::tls
