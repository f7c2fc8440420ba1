# SPDX-License-Identifier: Apache-2.0
# Language level, warnings, sanitizers: what every target gets.
option(HAWSER_TESTS "Build the unit tests" ON)
option(HAWSER_FUZZ "Build the fuzzers (clang)" OFF)
option(HAWSER_COVERAGE "Instrument for gcovr" OFF)
option(HAWSER_STATIC_RPC "Link gRPC, protobuf, OpenSSL and libstdc++ from archives (HawserStatic.cmake)" OFF)
option(HAWSER_FAILPOINTS "Fail-points at the durable steps, for tests (agent/base/failpoint.h)" OFF)
set(HAWSER_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

# Eight files of a target at a time: most of a file's time is in headers, and a build from nothing takes a third of what it
# does file by file. Names in anonymous namespaces must then differ within a target.
option(HAWSER_UNITY "Compile several files of a target at once" ON)
if(HAWSER_FUZZ OR HAWSER_COVERAGE OR CMAKE_CXX_CLANG_TIDY)
  set(HAWSER_UNITY OFF)
endif()
set(CMAKE_UNITY_BUILD ${HAWSER_UNITY})
if(HAWSER_UNITY)
  # Of an Impl with members of the anonymous namespace: it's in one .cpp all the same.
  add_compile_options(-Wno-subobject-linkage)
endif()
set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)

find_program(HAWSER_CCACHE ccache)
if(HAWSER_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${HAWSER_CCACHE}")
endif()

add_library(hawser_options INTERFACE)
target_include_directories(hawser_options INTERFACE "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/agent")
target_compile_options(hawser_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Werror
  -fno-omit-frame-pointer -fstack-protector-strong "-ffile-prefix-map=${CMAKE_SOURCE_DIR}=.")
target_compile_definitions(hawser_options INTERFACE
  HAWSER_VERSION="${PROJECT_VERSION}" BOOST_ASIO_NO_DEPRECATED SPDLOG_FMT_EXTERNAL
  $<$<CONFIG:Debug>:HAWSER_DEBUG=1>)
if(CMAKE_BUILD_TYPE MATCHES "Rel" AND NOT HAWSER_SANITIZE)
  target_compile_definitions(hawser_options INTERFACE _FORTIFY_SOURCE=2)
endif()
target_link_options(hawser_options INTERFACE -Wl,-z,relro,-z,now -Wl,--as-needed)

if(HAWSER_SANITIZE)
  target_compile_options(hawser_options INTERFACE "-fsanitize=${HAWSER_SANITIZE}" -fno-sanitize-recover=all -O1)
  target_link_options(hawser_options INTERFACE "-fsanitize=${HAWSER_SANITIZE}")
  if(HAWSER_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Asio's fenced blocks: g++ warns that the thread sanitizer doesn't model them; Asio's own mutex orders the same things.
    target_compile_options(hawser_options INTERFACE -Wno-tsan)
    # protobuf's MapField has two members more under this macro than in Debian's library, which crashes; libstdc++ keeps
    # its own hint.
    add_compile_options(-U__SANITIZE_THREAD__ -D_GLIBCXX_TSAN=1)
  endif()
endif()
if(HAWSER_FUZZ)
  # With both sanitizers; of the libraries only ours are instrumented. Warnings are the other compiler's business.
  set(fuzz -Wno-error -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-sanitize=vptr,function)
  target_compile_options(hawser_options INTERFACE ${fuzz})
  target_link_options(hawser_options INTERFACE -fsanitize=address,undefined)
endif()
if(HAWSER_COVERAGE)
  target_compile_options(hawser_options INTERFACE --coverage -O0)
  target_link_options(hawser_options INTERFACE --coverage)
endif()

# What uses agent/base/failpoint.h links it privately: then the option doesn't rebuild all the rest.
add_library(hawser_failpoints INTERFACE)
target_compile_definitions(hawser_failpoints INTERFACE $<$<BOOL:${HAWSER_FAILPOINTS}>:HAWSER_FAILPOINTS=1>)
