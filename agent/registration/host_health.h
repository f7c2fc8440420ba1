// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/asio_loop.h"
#include "base/metrics.h"
#include "config/config.h"
#include "registration/health_probe.h"

namespace hawser::registration {

// What: the health of a host with several services: one probe each, one verdict, since a control plane takes one report
// a host. All of them have to be well, or any of them; unknown until that is decided. Without a probe the host is well.
// Threading: on the loop; the callback too, when the verdict or its reason changes. Failure: the reason names each
// service that isn't well. Metrics: hawser_service_healthy{service} (1, 0; absent while unknown).
class HostHealth {
 public:
  using Changed = std::function<void(bool healthy, const std::string& reason)>;
  struct Service {
    std::string name;  // "program" for the probe of health: itself
    std::string kind;
    bool through_proxy = false;
    std::optional<bool> healthy;
    std::string reason;  // of its last result; empty: well
    Loop::Wall since;    // of `healthy`
    std::uint64_t attempts = 0;
  };

  HostHealth(AsioLoop& loop, Metrics& metrics, const std::vector<config::HealthProbe>& probes, bool any,
             const ProbeSurroundings& around, Changed changed);

  void start();
  void stop();
  void open_proxy(bool open);
  std::vector<Service> services() const;

 private:
  struct Entry {
    std::string name;
    std::unique_ptr<HealthProbe> probe;
    Loop::Wall since;
    std::string reason;  // of its state
  };

  void on_result(std::size_t index, bool healthy, const std::string& reason);
  std::optional<bool> verdict() const;
  std::string reason() const;

  AsioLoop& loop_;
  Metrics& metrics_;
  bool any_;
  Changed changed_;
  std::vector<Entry> entries_;
  std::optional<bool> told_;
  std::string told_reason_;
};

}  // namespace hawser::registration
