// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "base/asio_loop.h"
#include "base/result.h"
#include "config/config.h"

namespace hawser::registration {

// What: one try of a probe. It ends within the probe's time-out; destroying it cancels it.
// Threading: on the loop; `done` is called once, later. Failure: why the program isn't well.
class ProbeAttempt {
 public:
  using Done = std::function<void(Status)>;
  virtual ~ProbeAttempt() = default;
  // False while a command that was killed hasn't ended: it hangs in the kernel, and another would pile up behind it.
  virtual bool settled() const { return true; }
};

// `done` runs later, on the loop.
std::shared_ptr<ProbeAttempt> attempt_http(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done);
std::shared_ptr<ProbeAttempt> attempt_tcp(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done);
std::shared_ptr<ProbeAttempt> attempt_exec(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done);

}  // namespace hawser::registration
