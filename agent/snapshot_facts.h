// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "config/config.h"
#include "snapshot_keeper.h"

// What: whose a snapshot is, and what was confirmed with it, as texts that are compared; and the keeper for a host of
// this configuration. Threading: on the loop.
namespace hawser {

// The plane decides by these what a host gets. Addresses, labels and versions change on one and the same host.
std::string snapshot_identity(const config::Config& config);
// What the host captures and whom it spares, as far as the configuration says it.
std::string interception_plan(const config::Config& config);

// It has begun to load.
std::unique_ptr<SnapshotKeeper> make_snapshot_keeper(Loop& loop, SlowWorker& slow, Metrics& metrics, HealthSink& health,
                                                     const config::Config& config, const std::string& state_dir);
// `relay` outlives what is made of it.
SnapshotKeeper::Source snapshot_source(xds::Relay& relay);

}  // namespace hawser
