#include "handover.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fasterapi/http/server.hpp>

namespace fasterapi::http {
namespace {

constexpr std::uint32_t kKind = 0x6c6f6164;  // "load" in the block's directory
constexpr std::uint64_t kDifference = 2;     // connections that are not worth two system calls

}  // namespace

Handover::Handover(Server& server, core::SharedBlock& block, int receiver, std::vector<int> senders,
                   std::uint32_t index)
    : server_(server), block_(block), receiver_(receiver), senders_(std::move(senders)), index_(index) {
  auto entry = block_.add_entry(kKind, "fasterapi.http.load", 3, true);
  if (!entry) return;
  cells_ = block_.entry(*entry).first_cell;
  usable_ = true;
  block_.cell(cells_ + 1).store(0, std::memory_order_relaxed);
  block_.cell(cells_ + 2).store(0, std::memory_order_relaxed);
}

Handover::~Handover() { stop(); }

int Handover::start() noexcept {
  if (!usable_ || started_) return 0;
  int error = server_.reactor().add(receiver_, core::kReadable, this);
  started_ = error == 0;
  if (started_) block_.cell(cells_).store(index_ + 1, std::memory_order_release);  // from here on others may send
  return error;
}

void Handover::stop() noexcept {
  if (!started_) return;
  started_ = false;
  block_.cell(cells_).store(0, std::memory_order_release);
  server_.reactor().remove(receiver_);
  take_all();
}

void Handover::publish(std::uint64_t connections) noexcept {
  if (started_) block_.cell(cells_ + 1).store(connections, std::memory_order_relaxed);
}

bool Handover::offer(int fd) noexcept {
  if (!started_) return false;
  std::uint64_t mine = server_.connections(), least = mine;
  std::uint32_t target = 0;
  core::Cell* pending = nullptr;
  for (std::uint32_t slot = 0; slot < block_.slots(); ++slot) {
    std::uint64_t index = block_.cell_of(slot, cells_).load(std::memory_order_acquire);
    if (index == 0 || index == index_ + 1 || index > senders_.size() || !block_.live(slot)) continue;
    const core::Cell& waiting = block_.cell_of(slot, cells_ + 2);
    std::uint64_t theirs =
        block_.cell_of(slot, cells_ + 1).load(std::memory_order_relaxed) + waiting.load(std::memory_order_relaxed);
    if (theirs >= least) continue;
    least = theirs;
    target = static_cast<std::uint32_t>(index - 1);
    pending = const_cast<core::Cell*>(&waiting);
  }
  if (!pending || mine - least <= kDifference || mine * 8 <= least * 9) return false;
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  pending->fetch_add(1, std::memory_order_relaxed);
  if (::sendmsg(senders_[target], &message, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
    pending->fetch_sub(1, std::memory_order_relaxed);
    return false;  // its queue is full: ours then
  }
  ::close(fd);
  ++given_;
  return true;
}

void Handover::on_io(unsigned) noexcept { take_all(); }

void Handover::take_all() noexcept {
  for (int i = 0; i < 64; ++i) {
    char byte;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t size = ::recvmsg(receiver_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    core::Cell& pending = block_.cell(cells_ + 2);
    // Sent to the worker before us, whose count went with it: never below zero.
    for (std::uint64_t now = pending.load(std::memory_order_relaxed);
         now && !pending.compare_exchange_weak(now, now - 1, std::memory_order_relaxed);) {
    }
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS || (message.msg_flags & MSG_CTRUNC)) continue;  // EMFILE
    int fd;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    ++taken_;
    server_.adopt(fd);
  }
}

}  // namespace fasterapi::http
