#pragma once
// with_deadline(): a future that fails in time.
//   Cost     one block of recycled memory and one timer of the wheel (resolution 1 ms); nothing for a ready future
//   Threads  the reactor's
//   Errors   DeadlineExceeded; the operation behind the future is then asked to stop (Promise::on_cancel)
#include <fasterapi/core/future.hpp>
#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {

/// `future`, or DeadlineExceeded when it is still pending `nanos` from now (of the reactor's clock of this turn).
template <class T>
Future<T> with_deadline(Future<T> future, Reactor& reactor, Nanos nanos) {
  if (future.ready() || !future.valid()) return future;
  if (future.across_threads()) {
    return Future<T>::of_error(detail::error_of("with_deadline: for futures of one thread; use get_for()"));
  }
  return detail::Guard<T, Timer>::make(future, [&](Timer& timer) { reactor.arm_after(timer, nanos); });
}

}  // namespace fasterapi::core
