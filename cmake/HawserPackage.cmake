# SPDX-License-Identifier: Apache-2.0
# What is installed where, and the Debian package: cmake --build build/package --target package
set(HAWSER_MAINTAINER "Hawser maintainers <maintainers@hawser.example>" CACHE STRING "Maintainer: of the packages")
set(HAWSER_PACKAGING "${CMAKE_SOURCE_DIR}/packaging")
string(TIMESTAMP HAWSER_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)  # SOURCE_DATE_EPOCH, if set
configure_file("${HAWSER_PACKAGING}/deb/changelog.in" "${CMAKE_BINARY_DIR}/packaging/changelog" @ONLY)

# Compressed as Debian wants it: without name and time, so that the same sources give the same bytes.
function(hawser_compressed source destination)
  get_filename_component(name "${source}" NAME)
  set(compressed "${CMAKE_BINARY_DIR}/packaging/${name}.gz")
  add_custom_command(OUTPUT "${compressed}" COMMAND gzip -9nc "${source}" > "${compressed}" DEPENDS "${source}" VERBATIM)
  set_property(GLOBAL APPEND PROPERTY HAWSER_COMPRESSED "${compressed}")
  install(FILES "${compressed}" DESTINATION "${destination}")
endfunction()

install(TARGETS hawser DESTINATION bin)
install(TARGETS hawserd hawser-broker DESTINATION sbin)
file(GLOB HAWSER_UNITS "${HAWSER_PACKAGING}/systemd/hawser*")
install(FILES ${HAWSER_UNITS} DESTINATION lib/systemd/system)
install(FILES "${HAWSER_PACKAGING}/sysusers.d/hawser.conf" DESTINATION lib/sysusers.d)
install(FILES "${HAWSER_PACKAGING}/tmpfiles.d/hawser.conf" DESTINATION lib/tmpfiles.d)
install(FILES "${HAWSER_PACKAGING}/modules-load.d/hawser.conf" DESTINATION lib/modules-load.d)
install(FILES "${HAWSER_PACKAGING}/etc/hawser.yaml" DESTINATION /etc/hawser)
install(DIRECTORY DESTINATION /etc/hawser/conf.d)
install(FILES "${HAWSER_PACKAGING}/deb/copyright" DESTINATION share/doc/hawser)
install(FILES "${HAWSER_PACKAGING}/completions/hawser" DESTINATION share/bash-completion/completions)
hawser_compressed("${CMAKE_BINARY_DIR}/packaging/changelog" share/doc/hawser)
foreach(page hawser.1 hawserd.8 hawser-broker.8 hawser.yaml.5)
  string(REGEX MATCH "[0-9]$" section "${page}")
  hawser_compressed("${HAWSER_PACKAGING}/man/${page}" "share/man/man${section}")
endforeach()
get_property(HAWSER_COMPRESSED GLOBAL PROPERTY HAWSER_COMPRESSED)
add_custom_target(hawser_package_files ALL DEPENDS ${HAWSER_COMPRESSED})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME hawser)
set(CPACK_PACKAGE_CONTACT "${HAWSER_MAINTAINER}")
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Users and folders come from sysusers.d and tmpfiles.d; in a container the stand-alone tools do.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "moors virtual machines and bare-metal hosts to a service mesh")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Hawser proves who the host is, keeps its certificate fresh, runs and
supervises an Envoy proxy, relays xDS from the control plane, redirects
the host's traffic in the kernel and registers the workload. Unmodified
programs then call, and are called by, services in the mesh over mTLS.
.
Installing it changes nothing on the network before the host joins a mesh.
Removing it takes its rules out first.")
foreach(script postinst prerm postrm conffiles)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${HAWSER_PACKAGING}/deb/${script}")
endforeach()
include(CPack)
