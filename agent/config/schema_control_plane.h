// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/config.h"
#include "config/reader.h"

namespace hawser::config {

// What: the keys control_plane.* and ca.*. For schema.cpp.
void read_control_plane(MapReader& map, ControlPlane& plane);
void read_ca(MapReader& map, Config& config);

}  // namespace hawser::config
