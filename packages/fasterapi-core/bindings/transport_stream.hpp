#pragma once
// The object behind every native stream transport; see transport_stream.cpp.
#include "transport.hpp"
#include "transport_queue.hpp"

namespace fasterapi::core::py {

struct StreamTransport;

class StreamIo final : public LoopIo {
 public:
  using LoopIo::LoopIo;
  void on_io(unsigned events) noexcept override;
};

enum class Reader : std::uint8_t { data_received, get_buffer, stream };  // how the protocol takes data

struct StreamTransport {
  PyObject_HEAD PyObject*
      base_slots[5];  // of asyncio's _FlowControlMixin, never filled: ours are behind properties
  PyObject* weakrefs;
  PyObject* loop;      // nullptr after connection_lost()
  PyObject* protocol;  // the same
  PyObject* sock;      // socket.socket; nullptr while nobody has asked for one of an accepted connection
  PyObject* wrapper;   // asyncio's TransportSocket
  PyObject* server;
  PyObject* extra;  // what the creator knows beyond the socket, or nullptr
  PyObject* sockname;
  PyObject* peername;
  PyObject* read_context;
  PyObject* write_context;
  PyObject* empty_waiter;
  std::size_t high_water, low_water;
  unsigned conn_lost;
  unsigned read_hint;  // bytes that the last read brought
  int fd;
  Reader reader;
  bool open, closing, paused, eof, protocol_paused;
  bool peer_known;
  sockaddr_storage peer;
  socklen_t peer_length;
  alignas(StreamIo) unsigned char io_storage[sizeof(StreamIo)];
  alignas(OutQueue) unsigned char out_storage[sizeof(OutQueue)];

  StreamIo& io() noexcept { return *reinterpret_cast<StreamIo*>(io_storage); }
  OutQueue& out() noexcept { return *reinterpret_cast<OutQueue*>(out_storage); }
  LoopCore* core() const noexcept { return reinterpret_cast<LoopCore*>(loop); }
  PyObject* object() noexcept { return reinterpret_cast<PyObject*>(this); }
};

extern PyTypeObject* StreamTransportType;

// ---- transport_stream.cpp
void stream_fatal(StreamTransport* t, PyObject* exception, const char* message) noexcept;  // steals
void stream_force_close(StreamTransport* t, PyObject* exception) noexcept;
void stream_close(StreamTransport* t) noexcept;
void stream_connection_lost(StreamTransport* t, PyObject* exception) noexcept;
void stream_pause_reading(StreamTransport* t) noexcept;
/// Protocol raised: fatal error with that message, or the end of the loop.
void stream_protocol_failed(StreamTransport* t, const char* message) noexcept;
void stream_set_protocol(StreamTransport* t, PyObject* protocol);

// ---- transport_write.cpp
PyObject* stream_write(PyObject* self, PyObject* data);
PyObject* stream_writelines(PyObject* self, PyObject* list);
PyObject* stream_write_eof(PyObject* self, PyObject*);
void stream_write_ready(StreamTransport* t) noexcept;
void stream_maybe_pause(StreamTransport* t) noexcept;

// ---- transport_read.cpp
void stream_read_ready(StreamTransport* t) noexcept;

}  // namespace fasterapi::core::py
