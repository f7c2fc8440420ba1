// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "base/health.h"
#include "base/result.h"
#include "proxy/generation_host.h"
#include "xds/istio_extensions.h"

namespace hawser {

namespace broker {
class BrokerClient;
}

// What: asks the installed proxy binary, before it is started, which of Istio's own extensions it lacks: by having it
// validate, for each, a listener that names it. Four runs of about 0.2 s, one after the other, so it's for those who
// keep these extensions (`compat.istio_extensions: keep`); otherwise each running proxy's own list decides.
// Threading: on the loop. `host` must live until `done`. Failure: the first run's that couldn't be made.
void find_lacking_extensions(proxy::GenerationHost& host, std::function<void(Result<xds::IstioExtensionSet>)> done);

// The step of preflight: what is missing is HWS-XDS-052 of the item "istio-extensions"; a binary that can't be asked is
// left to the proxy's start. Nothing is asked without a broker, which must live until `done`.
void check_extensions(broker::BrokerClient* broker, HealthSink& health, std::function<void()> done);

}  // namespace hawser
