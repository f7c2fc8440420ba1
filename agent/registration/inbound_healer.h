// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"

namespace hawser::registration {

// What: heals a defect of istiod (1.30 and 1.31): a freshly registered workload often gets no inbound|PORT|| cluster
// until the next full push, so that all inbound traffic answers 503. Reconnecting while the workload's entry exists
// cures it. Some seconds after the first healthy report (before it, istiod rightly sends none) the cached cluster names
// are looked at, and if one of the workload's own ports has none, the stream is opened anew; a few times, further and
// further apart. Threading: on the loop. Failure: after the last try the health item "inbound" says which ports the
// mesh has no service for; that is no fault of this host's, so that the item stays ok. Metrics:
// hawser_inbound_cluster_heals_total.
class InboundHealer {
 public:
  using Names = std::function<void(std::function<void(std::vector<std::string>)>)>;

  InboundHealer(Loop& loop, Metrics& metrics, Names names, std::function<void(const std::string&)> reconnect,
                std::vector<std::uint16_t> ports, HealthSink* health = nullptr);

  // The control plane was told that the workload is well: starts looking, with all tries left.
  void on_healthy();
  void stop() { timer_.reset(); }
  unsigned tries() const { return tries_; }

 private:
  void look_after(std::chrono::milliseconds delay);
  void judge(const std::vector<std::string>& names);
  void give_up(const std::string& missing);
  void tell(const std::string& detail) const;
  // The own ports without a cluster, as text; "any port" where none is configured.
  std::string missing(const std::vector<std::string>& names) const;

  Loop& loop_;
  Metrics& metrics_;
  Names names_;
  std::function<void(const std::string&)> reconnect_;
  std::vector<std::uint16_t> ports_;
  HealthSink* health_;
  unsigned tries_ = 0;
  std::unique_ptr<Loop::Timer> timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser::registration
