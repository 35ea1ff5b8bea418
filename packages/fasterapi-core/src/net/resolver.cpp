#include <fasterapi/core/resolver.hpp>

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace fasterapi::core {
namespace {

constexpr auto kIdleThread = std::chrono::seconds(10);

// Counts forks: threads and locks of an earlier process are not ours.
std::atomic<unsigned> g_generation{0};
std::atomic<Resolver*> g_shared{nullptr};

std::string gai_text(int code) { return code == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(code); }

Resolution lookup_with_getaddrinfo(const std::string& host, int family) {
  Resolution result;
  addrinfo hints{};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  result.code = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (result.code != 0) {
    result.error = gai_text(result.code);
    return result;
  }
  for (const addrinfo* at = list; at; at = at->ai_next) {
    SocketAddress address;
    if (at->ai_addrlen > address.bytes.size()) continue;
    std::memcpy(address.bytes.data(), at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
    result.addresses.push_back(address);
  }
  ::freeaddrinfo(list);
  return result;
}

Resolution with_port(Resolution result, std::uint16_t port) {
  for (SocketAddress& address : result.addresses) address.set_port(port);
  return result;
}

std::string about(std::string_view host, const std::string& reason) {
  return "cannot resolve \"" + std::string(host.substr(0, 255)) + "\": " + reason;
}

}  // namespace

struct Resolver::Query::Waiter {
  Waiter(Reactor& reactor, Done done, std::string host, std::uint16_t port)
      : reactor(&reactor),
        done(std::move(done)),
        host(std::move(host)),
        port(port),
        timer(&Waiter::timed_out, this) {}
  static void timed_out(void* self) noexcept;
  void deliver(Resolution result) noexcept;
  void detach() noexcept;  // from what is under way

  Reactor* reactor;  // null once nobody waits; changed under the lock of `shared`
  Done done;
  std::string host;
  std::uint16_t port;
  Timer timer;
  Nanos timeout = 0;
  bool finished = false;  // the reactor's thread only
  std::shared_ptr<Shared> shared;
  std::weak_ptr<Waiter> self;
};

struct Resolver::Shared : std::enable_shared_from_this<Resolver::Shared> {
  using Key = std::pair<std::string, int>;
  struct Job {
    Key key;
    std::vector<std::shared_ptr<Query::Waiter>> waiters;
  };
  struct Cached {
    Resolution result;
    Nanos until = 0;
  };

  explicit Shared(ResolverOptions given) : options(std::move(given)) {}
  bool start_thread() noexcept;
  void work() noexcept;
  void finish(const std::shared_ptr<Job>& job, const Resolution& result);
  void remember(const Key& key, const Resolution& result);

  const ResolverOptions options;
  const unsigned generation = g_generation.load();
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::shared_ptr<Job>> queue;
  std::map<Key, std::shared_ptr<Job>> active;  // waiting or being looked up
  std::map<Key, Cached> cache;
  ResolverStats stats;
  unsigned idle = 0;
  bool stopped = false;
};

// ---------------------------------------------------------------- threads

// Threads are never joined: nothing ends a getaddrinfo that waits for a server which does not answer.
bool Resolver::Shared::start_thread() noexcept {
  sigset_t all, before;  // signals are for threads that know what to do with them
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    std::thread([self = shared_from_this()] { self->work(); }).detach();
    ++stats.threads;
  } catch (const std::exception&) {  // no thread, no memory
    started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

void Resolver::Shared::work() noexcept {
  std::unique_lock lock(mutex);
  while (!stopped) {
    if (queue.empty()) {
      ++idle;
      const bool more = wake.wait_for(lock, kIdleThread, [this] { return stopped || !queue.empty(); });
      --idle;
      if (!more) break;
      continue;
    }
    const std::shared_ptr<Job> job = std::move(queue.front());
    queue.pop_front();
    if (job->waiters.empty()) {  // nobody wants to know any more
      active.erase(job->key);
      continue;
    }
    ++stats.lookups;
    lock.unlock();
    Resolution result;
    try {
      result = options.lookup ? options.lookup(job->key.first, job->key.second)
                              : lookup_with_getaddrinfo(job->key.first, job->key.second);
      if (result.error.empty() && result.addresses.empty()) result.error = "it has no address";
    } catch (const std::exception& error) {
      result = {};
      result.error.assign("out of memory");  // short enough to need none
    }
    lock.lock();
    try {
      finish(job, result);
    } catch (const std::exception&) {  // out of memory: who waits has a timeout
      active.erase(job->key);
    }
  }
  --stats.threads;
}

void Resolver::Shared::finish(const std::shared_ptr<Job>& job, const Resolution& result) {
  active.erase(job->key);
  if (result.error.empty()) remember(job->key, result);
  for (const auto& waiter : job->waiters) {
    if (!waiter->reactor) continue;
    Resolution own = with_port(result, waiter->port);
    if (!own.error.empty()) own.error = about(waiter->host, own.error);
    // Under the lock: a query gives up, and its reactor may go, only with the lock held.
    waiter->reactor->post([waiter, own = std::move(own)]() mutable { waiter->deliver(std::move(own)); });
  }
  job->waiters.clear();
}

void Resolver::Shared::remember(const Key& key, const Resolution& result) {
  if (options.ttl <= 0 || options.max_cached == 0) return;
  const Nanos now = monotonic_now();
  if (cache.size() >= options.max_cached) {
    std::erase_if(cache, [now](const auto& entry) { return entry.second.until <= now; });
  }
  if (cache.size() >= options.max_cached) {
    cache.erase(std::min_element(cache.begin(), cache.end(),
                                 [](const auto& a, const auto& b) { return a.second.until < b.second.until; }));
  }
  cache[key] = {result, now + options.ttl};
}

// ---------------------------------------------------------------- queries

void Resolver::Query::Waiter::detach() noexcept {
  // In the child of a fork the lock may be held for good by a thread that is not there.
  if (!shared || shared->generation != g_generation.load()) return;
  std::lock_guard lock(shared->mutex);
  reactor = nullptr;
  for (auto& [key, job] : shared->active) {
    std::erase_if(job->waiters, [this](const auto& waiter) { return waiter.get() == this; });
  }
}

void Resolver::Query::Waiter::deliver(Resolution result) noexcept {
  if (std::exchange(finished, true)) return;
  reactor->cancel(timer);
  const Done call = std::exchange(done, nullptr);
  call(std::move(result));
}

void Resolver::Query::Waiter::timed_out(void* arg) noexcept {
  auto* waiter = static_cast<Waiter*>(arg);
  const std::shared_ptr<Waiter> alive = waiter->self.lock();
  if (std::exchange(waiter->finished, true)) return;
  waiter->detach();
  const Done call = std::exchange(waiter->done, nullptr);
  Resolution result;
  try {
    result.error = about(waiter->host, "no answer within " + std::to_string(waiter->timeout / 1'000'000) + " ms");
  } catch (const std::bad_alloc&) {
    result.error.assign("no answer");
  }
  result.timed_out = true;
  call(std::move(result));
}

void Resolver::Query::cancel() noexcept {
  const std::shared_ptr<Waiter> waiter = std::move(waiter_);
  if (!waiter || std::exchange(waiter->finished, true)) return;
  if (waiter->timer.armed()) waiter->reactor->cancel(waiter->timer);
  waiter->detach();
  waiter->done = nullptr;
}

bool Resolver::Query::pending() const noexcept { return waiter_ && !waiter_->finished; }

// ---------------------------------------------------------------- resolver

Resolver::Resolver(ResolverOptions options) : shared_(std::make_shared<Shared>(std::move(options))) {}

Resolver::~Resolver() {
  std::lock_guard lock(shared_->mutex);
  shared_->stopped = true;
  shared_->queue.clear();
  shared_->wake.notify_all();
}

Resolver& Resolver::shared() {
  if (Resolver* known = g_shared.load(std::memory_order_acquire)) return *known;
  static const int registered = ::pthread_atfork(nullptr, nullptr, [] {
    ++g_generation;
    g_shared.store(nullptr);  // its threads and its lock are the parent's
  });
  static_cast<void>(registered);
  auto fresh = std::make_unique<Resolver>();
  Resolver* none = nullptr;
  // Never destroyed: threads may be in getaddrinfo when the process ends.
  if (g_shared.compare_exchange_strong(none, fresh.get())) return *fresh.release();
  return *none;
}

std::optional<Resolution> Resolver::resolve_now(std::string_view host, std::uint16_t port, int family) {
  Resolution result;
  if (auto address = SocketAddress::numeric(host, port)) {
    if (family && address->family() != family) {
      result.error = about(host, "the address is of another family");
      return result;
    }
    result.addresses.push_back(*address);
    return result;
  }
  if (host.empty() || host.size() > 255 || host.find('\0') != host.npos) {
    result.error = about(host, "a host name has 1 to 255 bytes and no zero byte");
    return result;
  }
  std::lock_guard lock(shared_->mutex);
  auto found = shared_->cache.find(Shared::Key(host, family));
  if (found == shared_->cache.end()) return std::nullopt;
  if (found->second.until <= monotonic_now()) {
    shared_->cache.erase(found);
    return std::nullopt;
  }
  ++shared_->stats.cached;
  return with_port(found->second.result, port);
}

Resolver::Query Resolver::resolve(Reactor& reactor, std::string_view host, std::uint16_t port, Done done,
                                  Nanos timeout, int family) {
  Query query;
  query.waiter_ = std::make_shared<Query::Waiter>(reactor, std::move(done), std::string(host), port);
  const std::shared_ptr<Query::Waiter>& waiter = query.waiter_;
  waiter->self = waiter;
  auto answer = [&](Resolution result) {
    reactor.post([waiter, result = std::move(result)]() mutable { waiter->deliver(std::move(result)); });
  };
  if (auto known = resolve_now(host, port, family)) {
    answer(std::move(*known));
    return query;
  }
  Shared::Key key(host, family);
  {
    std::lock_guard lock(shared_->mutex);
    waiter->shared = shared_;
    std::shared_ptr<Shared::Job>& job = shared_->active[key];
    if (job) {
      ++shared_->stats.coalesced;
      job->waiters.push_back(waiter);
    } else if (shared_->queue.size() >= shared_->options.max_waiting) {
      shared_->active.erase(key);
      Resolution full;
      full.error =
          about(host, std::to_string(shared_->queue.size()) + " lookups are waiting already (max_waiting)");
      answer(std::move(full));
      return query;
    } else {
      job = std::make_shared<Shared::Job>();
      job->key = key;
      job->waiters.push_back(waiter);
      shared_->queue.push_back(job);
      const bool need_thread = shared_->idle < shared_->queue.size();
      if (need_thread && shared_->stats.threads < shared_->options.threads && !shared_->start_thread() &&
          shared_->stats.threads == 0) {
        shared_->queue.pop_back();
        shared_->active.erase(key);
        Resolution none;
        none.error = about(host, "no thread can be started");
        answer(std::move(none));
        return query;
      }
      shared_->wake.notify_one();
    }
  }
  if (timeout > 0) {
    waiter->timeout = timeout;
    reactor.refresh_now();
    reactor.arm_after(waiter->timer, timeout);
  }
  return query;
}

void Resolver::forget(std::string_view host) noexcept {
  std::lock_guard lock(shared_->mutex);
  std::erase_if(shared_->cache, [host](const auto& entry) { return entry.first.first == host; });
}

ResolverStats Resolver::stats() const {
  std::lock_guard lock(shared_->mutex);
  ResolverStats stats = shared_->stats;
  stats.waiting = shared_->queue.size();
  return stats;
}

}  // namespace fasterapi::core
