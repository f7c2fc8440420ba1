// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/result.h"
#include "config/config.h"

namespace hawser::registration {

// What: what a probe through the proxy needs of the host. All of it is PEM text but the address and the id.
struct ProbeIdentity {
  std::string key;
  std::string chain;
  std::string roots;
  std::string spiffe_id;
};
struct ProbeSurroundings {
  std::string own_address;                  // which the mesh is told
  std::function<ProbeIdentity()> identity;  // as it is now; empty: there is none
};

// What: one try of a probe. It ends within the probe's time-out; destroying it cancels it.
// Threading: on the loop; `done` is called once, later. Failure: why the program isn't well.
class ProbeAttempt {
 public:
  using Done = std::function<void(Status)>;
  virtual ~ProbeAttempt() = default;
  // False while a command that was killed hasn't ended: it hangs in the kernel, and another would pile up behind it.
  virtual bool settled() const { return true; }
};

Error unwell(const std::string& what);  // HWS-RG-002

// The program is asked on loopback unless told otherwise: local connections never meet PREROUTING, where inbound
// traffic is redirected, so that the answer is the program's own and not the proxy's. First in IPv4, then, as some
// listen on ::1 alone, in IPv6.
std::vector<std::string> hosts_of(const std::string& configured);

// `done` runs later, on the loop.
std::shared_ptr<ProbeAttempt> attempt_net(AsioLoop& loop, const config::HealthProbe& probe,
                                          const ProbeSurroundings& around, ProbeAttempt::Done done);
std::shared_ptr<ProbeAttempt> attempt_exec(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done);
std::shared_ptr<ProbeAttempt> attempt_grpc(AsioLoop& loop, const config::HealthProbe& probe,
                                           const ProbeSurroundings& around, ProbeAttempt::Done done);

}  // namespace hawser::registration
