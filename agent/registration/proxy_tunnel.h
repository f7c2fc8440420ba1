// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "base/asio_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "registration/probe_attempt.h"

namespace hawser::registration {

// What: a connection to the program behind this host's own proxy, for a client that wants a plain socket: mTLS to the
// proxy's inbound port as any caller has it, and a socket pair on this side. Each direction holds one buffer, so a slow
// side slows the other.
// Threading: on the loop; `opened` runs later. Failure: HWS-RG-002, to `opened`; later, the plain socket ends.
class ProxyTunnel {
 public:
  using Opened = std::function<void(Result<UniqueFd>)>;
  // Within the probe's time-out, which also ends the tunnel.
  static std::unique_ptr<ProxyTunnel> open(AsioLoop& loop, const config::HealthProbe& probe,
                                           const ProbeSurroundings& around, Opened opened);
  ~ProxyTunnel();
  ProxyTunnel(const ProxyTunnel&) = delete;
  ProxyTunnel& operator=(const ProxyTunnel&) = delete;

 private:
  class Connection;
  explicit ProxyTunnel(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  std::shared_ptr<Connection> connection_;
};

}  // namespace hawser::registration
