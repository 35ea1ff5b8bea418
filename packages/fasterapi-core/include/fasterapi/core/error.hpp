#pragma once
// Exceptions of the family: thrown at the edges only (configuration, binding layer), never per request.
// Exported with an out-of-line destructor, so that they may cross shared-library boundaries.
#include <stdexcept>
#include <string>

#include <fasterapi/core/export.hpp>

namespace fasterapi::core {

/// Base of what FasterAPI's native code throws. `code()` is an errno or a package's own number, 0 if none.
class FASTERAPI_CORE_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int code = 0) : std::runtime_error(message), code_(code) {}
  ~Error() override;
  int code() const noexcept { return code_; }

 private:
  int code_;
};

/// ABI string of the libfasterapi_core that is loaded, e.g. "0.1".
FASTERAPI_CORE_API const char* abi() noexcept;

}  // namespace fasterapi::core
