// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/config.h"
#include "config/reader.h"

namespace hawser::config {

// What: the keys control_plane.*. For schema.cpp.
void read_control_plane(MapReader& map, ControlPlane& plane);
// A list of host:port or {address, priority}.
void read_addresses(MapReader& map, std::vector<PlaneAddress>& out);

}  // namespace hawser::config
