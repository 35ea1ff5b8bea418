#pragma once
// Accepted connections go to the worker that has the fewest, by SCM_RIGHTS over a socket per worker.
//   Cost     per accepted connection a look at one cell per worker; a hand-over is a system call on each side
//   Threads  the server's; the counts are in the shared block
//   Crashes  what waits in the socket of a worker that dies is taken by the one that follows in its place
#include <cstdint>
#include <memory>
#include <vector>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/shared_block.hpp>

namespace fasterapi::http {

class Server;

class Handover final : public core::IoHandler {
 public:
  /// `index` of this worker in `senders`, whose other end `receiver` is; descriptors stay the caller's.
  Handover(Server& server, core::SharedBlock& block, int receiver, std::vector<int> senders, std::uint32_t index);
  ~Handover();
  /// Begins to take what others hand over. Returns 0 or an errno.
  int start() noexcept;
  /// Takes no more; what has been sent already is taken by stop() itself.
  void stop() noexcept;
  /// True when another worker takes the descriptor.
  bool offer(int fd) noexcept;
  /// The number of connections of this worker has changed.
  void publish(std::uint64_t connections) noexcept;
  std::uint64_t given() const noexcept { return given_; }
  std::uint64_t taken() const noexcept { return taken_; }

 private:
  void on_io(unsigned events) noexcept override;
  void take_all() noexcept;

  Server& server_;
  core::SharedBlock& block_;
  std::uint32_t cells_ = 0;  // index + 1, connections, handed over to it and not taken yet
  bool usable_ = false, started_ = false;
  int receiver_;
  std::vector<int> senders_;
  std::uint32_t index_;
  std::uint64_t given_ = 0, taken_ = 0;
};

}  // namespace fasterapi::http
