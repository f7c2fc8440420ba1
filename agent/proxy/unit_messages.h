// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "proxy/unit_properties.h"
#include "proxy/unit_state.h"

struct sd_bus_message;

// What: unit properties in D-Bus messages, both ways. Threading: any. Failure: a negative errno, as sd-bus has it.
namespace hawser::proxy {

// a(sv)
int append_properties(sd_bus_message* message, const UnitProperties& properties);
// a{sv}, of which all but a few are skipped.
int read_unit_state(sd_bus_message* message, UnitState& out);

}  // namespace hawser::proxy
