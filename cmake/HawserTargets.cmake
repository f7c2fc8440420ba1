# SPDX-License-Identifier: Apache-2.0
# hawser_library(NAME SOURCES … LINK …) and hawser_test(NAME SOURCES … LINK …): the two shapes of target.
# APART: of the sources, those that can't share a compiler run with others (headers of kernel and libc that clash, say).
include(GoogleTest)

function(hawser_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;APART;LINK;PRIVATE_LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  set_source_files_properties(${ARG_APART} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  target_link_libraries(${name} PUBLIC hawser_options ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
endfunction()

function(hawser_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;APART;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_source_files_properties(${ARG_APART} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  target_link_libraries(${name} PRIVATE hawser_options ${ARG_LINK} GTest::gtest GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 ENVIRONMENT
    "HAWSER_SOURCE_DIR=${CMAKE_SOURCE_DIR};TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/cmake/tsan.supp ignore_noninstrumented_modules=1")
endfunction()
