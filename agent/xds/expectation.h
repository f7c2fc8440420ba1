// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "xds/options.h"
#include "xds/wire.h"

namespace hawser::xds {

// What: what the plane owes for a request. Threading: pure. Failure: none.
// Source: "xDS protocol", incremental variant: a subscription is answered, be it by "removed"; resources named in
// initial_resource_versions are sent only if they differ. go-control-plane keeps to the second, istiod answers always.
Expectation expectation_of(const Request& request);

}  // namespace hawser::xds
