#include <fasterapi/core/endpoint.hpp>
#include <fasterapi/core/error.hpp>
#include <fasterapi/core/version.hpp>

namespace fasterapi::core {

Error::~Error() = default;        // key function: one vtable and typeinfo per process
Endpoint::~Endpoint() = default;

const char* abi() noexcept { return FASTERAPI_CORE_ABI; }

}  // namespace fasterapi::core
