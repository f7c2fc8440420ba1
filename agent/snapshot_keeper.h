// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "xds/relay.h"
#include "xds/snapshot/store.h"

namespace hawser {

// What: the last-good snapshot of a joined host. It's loaded at start; when the control plane hasn't answered a little
// after it was first dialled, the snapshot takes its place, so that a host that boots without its plane is in the mesh
// as fast as with it. Kept up to date behind what the serving proxy accepts: when it has taken everything, at most
// every five seconds and a twentieth of the time, and only the types that changed.
//
// A snapshot is used only by the host that made it (same identity and plane), within max_age of the last moment at
// which a plane agreed with it, if interception was confirmed by a working plane once, and what is to be intercepted is
// still the same. Damage to any type that listeners may refer to leaves it unused: a listener whose route never comes
// holds up all the others.
//
// Threading: on the loop; disk work on the slow worker, one piece at a time. Failure: the health item "snapshot":
// HWS-SN-001 while it serves, 002 … 007 when it can't be used or kept. Metrics: hawser_snapshot_serving,
// hawser_snapshot_as_of_seconds, hawser_snapshot_bytes, hawser_snapshot_saves_total{result}.
class SnapshotKeeper {
 public:
  struct Options {
    std::string folder;
    bool enabled = true;
    std::size_t max_bytes = std::size_t{128} << 20;
    std::chrono::seconds max_age{24 * 3600};
    std::string node_identity;
    std::string plan;  // what is to be intercepted
    std::chrono::milliseconds head_start{300};
    std::chrono::milliseconds settle{1000};
    std::chrono::milliseconds least_gap{5000};
    std::chrono::seconds refresh{300};
    std::chrono::seconds show{30};
  };
  // The relay, as far as it's needed.
  struct Source {
    std::function<void(std::vector<xds::snapshot::records::Type>, std::function<void(bool)>)> restore;
    std::function<void(std::map<std::string, std::uint64_t>, std::function<void(xds::Relay::Accepted)>)> accepted;
  };

  SnapshotKeeper(Loop& loop, SlowWorker& slow, Metrics& metrics, HealthSink& health, Options options);
  ~SnapshotKeeper();
  SnapshotKeeper(const SnapshotKeeper&) = delete;
  SnapshotKeeper& operator=(const SnapshotKeeper&) = delete;

  void load();
  // The plane is being dialled. `take_over` is called, with the reason, once the snapshot has taken its place.
  void begin(Source source, std::function<void(const std::string& reason)> take_over);
  void on_plane(bool connected);
  void on_accepted();
  // Interception is in force while the plane works.
  void on_confirmed();
  // Was just this confirmed by a working plane before?
  bool confirmed_before() const;

  void erase(std::function<void(Status)> done);
  void stop();
  nlohmann::json describe() const;

 private:
  enum class State { kLoading, kNone, kUsable, kUnusable, kServing, kReplaced };

  void loaded(xds::snapshot::Store::Loaded loaded);
  std::optional<Error> judge(const xds::snapshot::Store::Loaded& loaded) const;
  void decide();
  void serve();
  void show_serving();
  void show_kept();
  void schedule(Loop::Duration after);
  void collect();
  void write(xds::Relay::Accepted accepted);
  void written(const Result<xds::snapshot::Manifest>& result, std::map<std::string, std::uint64_t> revisions,
               Loop::Duration took);
  void arm_refresh();

  Loop& loop_;
  SlowWorker& slow_;
  Metrics& metrics_;
  HealthSink& health_;
  Options options_;
  xds::snapshot::Store store_;
  Source source_;
  std::function<void(const std::string&)> take_over_;

  State state_ = State::kLoading;
  bool due_ = false;  // the head start is over
  bool plane_ = false;
  Loop::Wall seen_;  // when it went away
  std::optional<Error> unusable_;
  std::vector<xds::snapshot::records::Type> types_;  // until it's decided
  xds::snapshot::Manifest manifest_;                 // as on disk
  std::string confirmed_plan_;
  std::map<std::string, std::uint64_t> known_;  // what of the relay's is on disk
  bool saving_ = false;
  bool again_ = false;
  int unsettled_ = 0;
  Loop::Monotonic not_before_{};
  std::unique_ptr<Loop::Timer> head_start_;
  std::unique_ptr<Loop::Timer> save_;
  std::unique_ptr<Loop::Timer> refresh_;
  std::unique_ptr<Loop::Timer> show_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser
