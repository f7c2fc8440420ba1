// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "status/endpoints.h"

namespace hawser::rpc {
class GrpcServer;
}
namespace hawser::sds {
class SdsServer;
}
namespace hawser::xds {
class Relay;
}

namespace hawser {

// What: what a joined host serves to itself: port 15020, and xds.sock and sds.sock for the proxy's user alone.
// Threading: on the loop. Failure: a port or socket that's taken, a user that doesn't exist; nothing is left open.
Result<std::unique_ptr<status::HttpServer>> serve_status(AsioLoop& loop, Metrics& metrics, std::uint16_t port,
                                                         status::EndpointSources sources);
// The sockets come from systemd where it holds them. `sds` and `relay` outlive the server.
Result<std::unique_ptr<rpc::GrpcServer>> serve_proxy(AsioLoop& loop, Metrics& metrics, const std::string& run_dir,
                                                     const std::string& proxy_user, sds::SdsServer& sds,
                                                     xds::Relay& relay);

}  // namespace hawser
