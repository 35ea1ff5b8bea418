// Built where liburing is not installed.
#include <fasterapi/core/error.hpp>
#include <reactor/backends.hpp>

namespace fasterapi::core {

std::unique_ptr<Backend> make_uring_backend() { throw Error("io_uring: this build has no liburing"); }

}  // namespace fasterapi::core
