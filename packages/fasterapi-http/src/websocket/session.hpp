#pragma once
// Session: the state machine of one accepted WebSocket over a connection (RFC 6455 sections 5.5 and 7).
//   Cost     a message that is complete in one read goes to the listener from the read buffer; what is sent in one
//            turn leaves in one system call. An idle session owns no buffer but its decoder's
//   Flow     reading pauses while the listener is full, until resume(); send() says when to wait for on_writable()
//   Threads  the reactor's thread
//   Ownership  the connection's; the listener hears on_end() exactly once and forgets the session then, or calls
//            detach() first
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/http/limits.hpp>
#include <fasterapi/http/websocket.hpp>

#include "connection/tunnel.hpp"

namespace fasterapi::http::ws {

class SessionListener {
 public:
  /// False: no more until Session::resume().
  virtual bool on_message(Opcode opcode, std::string_view data, bool ascii) noexcept = 0;
  virtual void on_writable() noexcept = 0;
  /// Nothing comes and nothing can be sent any more. 1006: the connection is lost.
  virtual void on_end(std::uint16_t code, std::string_view reason) noexcept = 0;

 protected:
  ~SessionListener() = default;
};

class Session final : public Tunnel {
 public:
  Session(SessionListener& listener, core::Reactor& reactor, const Limits& limits,
          const std::optional<DeflateParams>& deflate);

  /// Queues a message. False when so much is unsent that the sender should wait for on_writable().
  bool send(Opcode opcode, std::string_view payload) noexcept;
  /// Begins the closing handshake; on_end() follows with the peer's code, or 1006 after ws_close_timeout_ms.
  void close(std::uint16_t code, std::string_view reason) noexcept;
  /// The listener has room again.
  void resume() noexcept;
  /// The listener goes away; what still comes is dropped.
  void detach() noexcept { listener_ = nullptr; }
  bool open() const noexcept { return state_ == State::open; }

  void on_open(Connection& connection) noexcept override;
  void on_data(char* data, std::size_t size) noexcept override;
  void on_resumed() noexcept override;
  void on_eof() noexcept override;
  void on_drained() noexcept override;
  void on_server_drain() noexcept override;
  void on_closed(int error) noexcept override;

 private:
  enum class State : std::uint8_t { open, closing, ended };

  void take(char* data, std::size_t size);
  void handle(const Decoder::Event& event);
  void fail(std::uint16_t code, std::string_view reason) noexcept;
  void finish(std::uint16_t code, std::string_view reason) noexcept;
  void tell_end(std::uint16_t code, std::string_view reason) noexcept;
  void pong(std::string_view payload);
  void put(Opcode opcode, std::string_view payload);
  void flush() noexcept;
  void schedule() noexcept;
  void on_timer() noexcept;
  void arm(std::uint64_t ms) noexcept;
  void out_of_memory() noexcept;

  SessionListener* listener_;
  core::Reactor& reactor_;
  Connection* connection_ = nullptr;
  const Limits& limits_;
  Decoder decoder_;
  Encoder encoder_;
  core::OutBuffer batch_;    // frames of this turn
  core::OutBuffer backlog_;  // input that waits for the listener
  std::string last_ping_;    // to be answered once the peer reads
  core::Deferred flush_;
  core::Timer timer_;
  core::Nanos ping_sent_ = 0;  // 0: no answer is due
  std::uint32_t ping_number_ = 0;
  State state_ = State::open;
  bool paused_ = false, taking_ = false, told_ = false, pong_due_ = false;
};

}  // namespace fasterapi::http::ws
