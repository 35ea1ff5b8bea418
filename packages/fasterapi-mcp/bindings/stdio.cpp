// Serving on two descriptors: the line transport bound to an engine, one legacy peer, one future.
#include <cerrno>

#include <unistd.h>

#include "engine.hpp"
#include "stdio/lines.hpp"

namespace fasterapi::mcp {

using core::py::api;

namespace {

// What is running when the input ends may still answer, for this long.
constexpr core::Nanos kGrace = 1'000'000'000;
constexpr core::Nanos kGracePoll = 2'000'000;

class StdioServer final : public Channel, private LineHandler, public std::enable_shared_from_this<StdioServer> {
 public:
  StdioServer(std::shared_ptr<Engine> engine, core::Reactor& reactor, int in_fd, int out_fd, bool own)
      : engine_(std::move(engine)),
        reactor_(reactor),
        reader_(reactor, in_fd, engine_->options().max_message, *this),
        writer_(reactor, out_fd, *this),
        grace_([](void* self) noexcept { static_cast<StdioServer*>(self)->wind_down(); }, this),
        peer_(std::make_shared<Peer>("")),
        in_fd_(in_fd),
        out_fd_(out_fd),
        own_(own) {}

  ~StdioServer() override {
    reader_.stop();
    writer_.stop();
    if (own_) {
      ::close(in_fd_);
      if (out_fd_ != in_fd_) ::close(out_fd_);
    }
  }

  PyObject* start() {
    future_ = PyRef(api->future_new(nullptr));
    if (!future_) return nullptr;
    if (int error = reader_.start()) {
      errno = error;
      return PyErr_SetFromErrno(PyExc_OSError);
    }
    self_ = shared_from_this();
    peer_->stream = self_;
    engine_->add_peer(peer_);
    api->future_on_cancel(
        future_.get(), [](void* self) noexcept { static_cast<StdioServer*>(self)->end(); }, this);
    return Py_NewRef(future_.get());
  }

  // ---- Channel: every call of this transport writes to the one output
  OutBuffer& begin() override { return writer_.out(); }
  void end_answer(int) override { end_message(); }
  void end_event() override { end_message(); }
  void abandon() override {}
  bool streams() const noexcept override { return !ended_; }

 private:
  void end_message() {
    writer_.end_line();
    if (writer_.congested()) reader_.pause();
  }
  void on_line(std::string_view line) noexcept override {
    if (ended_) return;
    Inbound in;
    in.channel = self_;
    in.peer = peer_;
    engine_->handle(line, in);
  }
  void on_line_too_long() noexcept override {
    write_error(writer_.out(), {}, -32600, "Invalid Request: the message is longer than max_message_bytes");
    end_message();
  }
  void on_output_drained() noexcept override { reader_.resume(); }
  void on_output_error(int) noexcept override { end(); }
  void on_input_end() noexcept override {
    if (ended_) return;
    deadline_ = core::monotonic_now() + kGrace;
    wind_down();
  }
  void wind_down() noexcept {
    if (ended_) return;
    writer_.flush();
    bool late = core::monotonic_now() >= deadline_;
    if (!ended_ && !late && (!peer_->in_flight.empty() || !writer_.idle())) {
      reactor_.arm_after(grace_, kGracePoll);
      return;
    }
    end();
  }
  void end() noexcept {
    if (ended_) return;
    ended_ = true;
    reactor_.cancel(grace_);
    reader_.stop();
    writer_.stop();
    peer_->closed = true;
    peer_->stream.reset();
    peer_->fail_pending("the input has ended");
    auto calls = peer_->in_flight;
    for (auto& [id, weak] : calls)
      if (auto call = weak.lock()) call->cancel();
    api->future_on_cancel(future_.get(), nullptr, nullptr);
    if (!api->future_done(future_.get()) && api->future_set_result(future_.get(), Py_None) < 0) PyErr_Clear();
    // Called from our own reader or writer: they must be off the stack before the object goes.
    reactor_.post([self = std::move(self_)] {});
  }

  std::shared_ptr<Engine> engine_;
  core::Reactor& reactor_;
  LineReader reader_;
  LineWriter writer_;
  core::Timer grace_;
  std::shared_ptr<Peer> peer_;
  std::shared_ptr<StdioServer> self_;
  PyRef future_;
  core::Nanos deadline_ = 0;
  int in_fd_, out_fd_;
  bool own_, ended_ = false;
};

}  // namespace

PyObject* serve_stdio(const std::shared_ptr<Engine>& engine, int in_fd, int out_fd, bool own) {
  core::Reactor* reactor = api->current_reactor();
  if (!reactor) return nullptr;
  return std::make_shared<StdioServer>(engine, *reactor, in_fd, out_fd, own)->start();
}

}  // namespace fasterapi::mcp
