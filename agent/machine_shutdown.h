// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>

#include "config/config.h"

namespace hawser {

class MeshProxy;
class Registration;

// What: is this machine on its way down (power-off, reboot, halt), as the system manager says? Tells that from a stop
// or restart of our service alone, which must leave the proxy and the rules at work. Threading: blocking, for at most
// `limit`. Failure: false, with a warning in the log: then the proxy is stopped by the system manager alone. False
// where there's no systemd.
bool machine_shuts_down(std::chrono::milliseconds limit);

// What: the end of what callers are connected to, since the machine goes down: the plane is told, callers get
// workload.withdraw_wait (at most 3 s) to hear of it, and connections proxy.shutdown_drain to end; then the proxy is
// stopped. Either may be missing. Threading: on the loop. Failure: logged; done() within take_down_bound(), and the
// time that a proxy takes to end.
void take_down(Registration* registration, MeshProxy* proxy, const config::Config& config, std::function<void()> done);
std::chrono::seconds take_down_bound(const config::Config& config);

}  // namespace hawser
