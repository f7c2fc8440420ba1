// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "proxy/launcher.h"
#include "proxy/unit_state.h"

// What: what can be told of a generation from its unit alone, when its record was lost: enough to signal it, to reap it
// and to clean up after it. What the generations of its family share isn't in the unit. Pure. Failure: unknown parts
// stay empty.
namespace hawser::proxy {

GenerationSpec adopted_spec(const std::string& name, const UnitState& state);

}  // namespace hawser::proxy
