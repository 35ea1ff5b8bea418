#pragma once
// Factories of the backends that this platform compiles.
#include <memory>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {

#if FASTERAPI_LINUX
std::unique_ptr<Backend> make_epoll_backend();
#endif

}  // namespace fasterapi::core
