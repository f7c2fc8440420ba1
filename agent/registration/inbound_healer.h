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
// cures it. From the first healthy report on (before it, istiod rightly sends none) the cached cluster names are looked
// at, and if one of the workload's own ports has none after 1.5 s, the stream is opened anew; a few times, further and
// further apart. on_settled() is called once a healthy report: when the clusters are there, or 6 s later without them.
// Threading: on the loop. Failure: after the last try the health item "inbound" says which ports the mesh has no
// service for (HWS-RG-008); that is no fault of this host's, so that the item stays ok. Metrics:
// hawser_inbound_cluster_heals_total.
class InboundHealer {
 public:
  using Names = std::function<void(std::function<void(std::vector<std::string>)>)>;

  InboundHealer(Loop& loop, Metrics& metrics, Names names, std::function<void(const std::string&)> reconnect,
                std::vector<std::uint16_t> ports, HealthSink* health = nullptr);

  // The control plane was told that the workload is well: starts looking, with all tries left.
  void on_healthy();
  void on_settled(std::function<void(bool complete)> callback) { settled_ = std::move(callback); }
  void stop();
  unsigned tries() const { return tries_; }
  // Times that the stream was opened anew for this, since the start; and what lacks now, empty: nothing that is known.
  unsigned heals() const { return heals_; }
  const std::string& lacking() const { return lacking_; }

 private:
  void look_after(std::chrono::milliseconds delay);
  void look();
  void settle(bool complete);
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
  std::function<void(bool)> settled_ = [](bool) {};
  unsigned tries_ = 0;
  unsigned heals_ = 0;
  std::string lacking_;
  bool open_ = false;  // settled_ wasn't called yet
  Loop::Monotonic told_at_{};
  Loop::Monotonic since_{};  // of the stream that is looked at
  std::unique_ptr<Loop::Timer> timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser::registration
