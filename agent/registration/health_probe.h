// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/asio_loop.h"
#include "config/config.h"
#include "registration/probe_attempt.h"

namespace hawser::registration {

// What: asks one of the host's programs whether it is well: HTTP or HTTPS (200 to 399), TCP (connects), gRPC's health
// protocol (SERVING) or a command (exits 0), each in its time; a state changes after as many results in a row as its
// threshold says. The state is unknown until the first threshold is reached; nothing is called before. A probe through
// the proxy waits until it is open_proxy()ed: there is nothing to learn before. Threading: on the loop; the callback
// too, on change only. Failure: HWS-RG-002, an unhealthy result with its reason. A command's whole process group is
// killed when its time is up, or when the command has ended and left something behind.
class HealthProbe {
 public:
  using Changed = std::function<void(bool healthy, const std::string& reason)>;

  HealthProbe(AsioLoop& loop, config::HealthProbe settings, ProbeSurroundings around, Changed changed);
  ~HealthProbe();
  // Without a probe configured the program is healthy at once.
  void start();
  void stop();
  // Does the proxy serve this host's inbound traffic? Asks at once when it begins to.
  void open_proxy(bool open);

  const config::HealthProbe& settings() const;
  std::optional<bool> state() const;
  // Of the last result, whatever the thresholds make of it; empty: it was well.
  const std::string& last_reason() const;
  std::uint64_t attempts() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::registration
