# SPDX-License-Identifier: Apache-2.0
# HAWSER_STATIC_RPC: gRPC, protobuf, Abseil, OpenSSL and what only they need come from the distribution's archives, spdlog
# and fmt from their headers. A shared library is mapped, relocated and searched as a whole; of an archive only what is
# used is linked. docs/benchmarks.md has the figures.
#
# What has no archive in Debian stays dynamic: prometheus-cpp, libsystemd, libnftables, and libc itself.

# The archive of a library: in CMake's terms these targets stay SHARED, which only means that nothing is asked of them.
function(hawser_archive variable name)
  find_library(HAWSER_ARCHIVE_${name} NAMES lib${name}.a REQUIRED)
  mark_as_advanced(HAWSER_ARCHIVE_${name})
  set(${variable} "${HAWSER_ARCHIVE_${name}}" PARENT_SCOPE)
endfunction()

function(hawser_link_archive target name)
  hawser_archive(path ${name})
  get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
  if(configurations)
    foreach(configuration IN LISTS configurations)
      set_target_properties(${target} PROPERTIES IMPORTED_LOCATION_${configuration} "${path}" IMPORTED_SONAME_${configuration} "")
    endforeach()
  endif()
  set_target_properties(${target} PROPERTIES IMPORTED_LOCATION "${path}")
  if(ARGN)
    set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${ARGN}")
  endif()
endfunction()

# pkg-config knows gRPC's archives, in an order that the linker may only trust as one group.
pkg_check_modules(HAWSER_GRPC REQUIRED grpc++)
set(names ${HAWSER_GRPC_STATIC_LIBRARIES})
list(FILTER names EXCLUDE REGEX "^(grpc\\+\\+|ssl|crypto|dl|rt|atomic|pthread)$")
list(REMOVE_DUPLICATES names)
set(archives)
foreach(name IN LISTS names)
  hawser_archive(path ${name})
  list(APPEND archives "${path}")
endforeach()
list(JOIN archives "," archives)

hawser_link_archive(OpenSSL::Crypto crypto)
hawser_link_archive(OpenSSL::SSL ssl OpenSSL::Crypto)
hawser_link_archive(protobuf::libprotobuf protobuf)
hawser_link_archive(protobuf::libprotobuf-lite protobuf-lite)
hawser_link_archive(gRPC::grpc++ grpc++
  "$<LINK_GROUP:RESCAN,${archives}>;protobuf::libprotobuf;OpenSSL::SSL;OpenSSL::Crypto;Threads::Threads;${CMAKE_DL_LIBS}")
hawser_link_archive(yaml-cpp yaml-cpp)

set(HAWSER_LOG_LIBRARIES spdlog::spdlog_header_only fmt::fmt-header-only)

# gRPC's registry of extras is an xDS client with all of Envoy's messages, 2 MB that we never use: we are the relay. Its
# "unsecure" archive has the same registry without extras; an object on the link line comes before any archive.
hawser_archive(unsecure grpc_unsecure)
set(HAWSER_GRPC_NO_EXTRAS "${CMAKE_BINARY_DIR}/static/grpc_plugin_registry_noextra.cc.o")
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/static")
execute_process(COMMAND "${CMAKE_AR}" x "${unsecure}" grpc_plugin_registry_noextra.cc.o
                WORKING_DIRECTORY "${CMAKE_BINARY_DIR}/static" COMMAND_ERROR_IS_FATAL ANY)
function(hawser_without_grpc_extras target)
  target_sources(${target} PRIVATE "${HAWSER_GRPC_NO_EXTRAS}")
  set_source_files_properties("${HAWSER_GRPC_NO_EXTRAS}" PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
endfunction()

# For size: what is mapped is most of what a resident agent costs, and its hot code is in the libraries (but xds/).
set(CMAKE_CXX_FLAGS_RELEASE "-Os -DNDEBUG")
add_compile_options(-ffunction-sections -fdata-sections)
target_link_options(hawser_options INTERFACE -static-libstdc++ -static-libgcc -Wl,--gc-sections
                    -Wl,-z,pack-relative-relocs)
