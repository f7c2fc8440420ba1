// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "proxy/driver.h"

// What: what Envoy's admin interface answers, made into values. Strict: a field that is missing or of another type is
// an error, for what is decided here is whether a host's traffic is handed over. Pure. Failure: HWS-PX-002 (the answer
// isn't what Envoy is known to give).
namespace hawser::proxy {

// GET /server_info; fills all but `ready` and `listeners`.
Result<ProbeResult> parse_server_info(std::string_view body);
// GET /listeners?format=json: a listener with several addresses gives several entries; those on paths are left out.
Result<std::vector<Listener>> parse_listeners(std::string_view body);
// GET /stats, text: lines "name: value"; histograms are left out.
std::map<std::string, std::uint64_t> parse_stats(std::string_view body);
// Active downstream connections in those stats, by listener, of listeners on none of the `uncounted` ports. Envoy
// counts each connection by listener and again by worker; internal listeners count what others have counted.
std::vector<ListenerConnections> connections_by_listener(const std::map<std::string, std::uint64_t>& stats,
                                                         const std::vector<std::uint16_t>& uncounted);
std::uint64_t sum_connections(const std::vector<ListenerConnections>& listeners);
// GET /init_dump: what initialization waits for, where Envoy names it.
std::vector<std::string> parse_init_dump(std::string_view body);
// GET /config_dump?resource=dynamic_listeners: why listeners were refused, by name.
std::map<std::string, std::string> parse_listener_errors(std::string_view body);

// GET /certs: the leaf of each chain that Envoy presents.
Result<std::vector<CertificateInUse>> parse_certs(std::string_view body);

// The serial of one whose time is over; empty: none.
std::string expired_among(const std::vector<CertificateInUse>& certificates, Loop::Wall now);
// GET /config_dump?resource=static_listeners (or dynamic_listeners): a listener that no other process can share, and
// why; empty: all have TCP sockets with reuse_port, which is Envoy's default.
Result<std::string> parse_unshared(std::string_view body);

}  // namespace hawser::proxy
