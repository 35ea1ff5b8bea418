# fasterapi_add_module(<name> SOURCES ... [LIBS ...] [RPATH ...])   one nanobind extension of the family
# fasterapi_library(<name> SOURCES ...)                             static, position-independent, no Python
# fasterapi_test(<name> SOURCES ... [LIBS ...])                     GoogleTest executable under ctest
# Shared by all packages, so that domain, language level, warnings and hardening are the same everywhere.
include_guard(GLOBAL)
option(FASTERAPI_PYTHON "build the Python extension" ON)
option(FASTERAPI_TESTS "build the GoogleTest suites" OFF)

set(FASTERAPI_WARNINGS -Wall -Wextra -Wpedantic -Wno-missing-field-initializers -Wno-unused-parameter
    CACHE INTERNAL "")
set(FASTERAPI_HARDENING -fstack-protector-strong -D_GLIBCXX_ASSERTIONS CACHE INTERNAL "")

if(FASTERAPI_PYTHON)
  find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module
               OPTIONAL_COMPONENTS Development.SABIModule)
  if(NOT nanobind_ROOT AND NOT nanobind_DIR)
    execute_process(COMMAND "${Python_EXECUTABLE}" -m nanobind --cmake_dir
      OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE nanobind_ROOT ERROR_QUIET)
  endif()
  find_package(nanobind 3.1 CONFIG REQUIRED)
endif()

function(_fasterapi_common target)
  set_target_properties(${target} PROPERTIES
    CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE ${FASTERAPI_WARNINGS} ${FASTERAPI_HARDENING}
    $<$<CONFIG:Release>:-O3>)
endfunction()

function(fasterapi_library name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;LIBS")
  add_library(${name} STATIC ${ARG_SOURCES})
  _fasterapi_common(${name})
  target_link_libraries(${name} PUBLIC fasterapi::core ${ARG_LIBS})
  target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/src)
endfunction()

function(fasterapi_add_module name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "RPATH" "SOURCES;LIBS")
  nanobind_add_module(${name} NB_STATIC NOMINSIZE NB_DOMAIN fasterapi ${ARG_SOURCES})
  _fasterapi_common(${name})
  target_link_libraries(${name} PRIVATE fasterapi::core ${ARG_LIBS})
  set_target_properties(${name} PROPERTIES INSTALL_RPATH "${ARG_RPATH}")
  install(TARGETS ${name} LIBRARY DESTINATION . COMPONENT python)
endfunction()

function(fasterapi_test name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;LIBS")
  find_package(GTest REQUIRED)
  include(GoogleTest)
  add_executable(${name} ${ARG_SOURCES})
  _fasterapi_common(${name})
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR}/include)
  target_link_libraries(${name} PRIVATE fasterapi::core ${ARG_LIBS} GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60)
endfunction()
