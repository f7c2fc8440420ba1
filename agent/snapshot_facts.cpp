// SPDX-License-Identifier: Apache-2.0
#include "snapshot_facts.h"

namespace hawser {
namespace {

std::string text_of(const std::vector<config::PortRange>& ranges) {
  std::string out;
  for (const auto& range : ranges)
    out += (out.empty() ? "" : ",") + std::to_string(range.first) + "-" + std::to_string(range.last);
  return out;
}

}  // namespace

std::string snapshot_identity(const config::Config& config) {
  const auto& mesh = config.mesh;
  return config.spiffe_id() + " workload " + config.workload.name + " group " + config.workload.group + " cluster " +
         mesh.cluster_id + " mesh " + mesh.id + " network " + mesh.network + " plane " +
         config.control_plane.address.text();
}

std::string interception_plan(const config::Config& config) {
  const auto& settings = config.interception;
  std::string out = std::string("inbound ") + (settings.inbound ? "on" : "off") + " ports " +
                    (settings.inbound_ports.empty() ? "all" : text_of(settings.inbound_ports)) + " but " +
                    text_of(settings.inbound_exclude) + "; outbound " + (settings.outbound ? "on" : "off") +
                    " but ports " + text_of(settings.outbound_exclude_ports) + " and";
  for (const auto& cidr : settings.outbound_exclude_cidrs) out += " " + cidr;
  return out + "; spared " + config.users.agent + " " + config.users.proxy;
}

std::unique_ptr<SnapshotKeeper> make_snapshot_keeper(Loop& loop, SlowWorker& slow, Metrics& metrics, HealthSink& health,
                                                     const config::Config& config, const std::string& state_dir) {
  const auto& settings = config.control_plane.snapshot;
  SnapshotKeeper::Options options;
  options.folder = state_dir + "/xds";
  options.enabled = settings.enabled;
  options.max_bytes = std::size_t{settings.max_mib} << 20;
  options.max_age = settings.max_age;
  options.node_identity = snapshot_identity(config);
  options.plan = interception_plan(config);
  auto keeper = std::make_unique<SnapshotKeeper>(loop, slow, metrics, health, std::move(options));
  keeper->load();
  return keeper;
}

SnapshotKeeper::Source snapshot_source(xds::Relay& relay) {
  SnapshotKeeper::Source source;
  source.restore = [&relay](std::vector<xds::snapshot::records::Type> types, std::function<void(bool)> done) {
    relay.restore(std::move(types), std::move(done));
  };
  source.accepted = [&relay](std::map<std::string, std::uint64_t> known,
                             std::function<void(xds::Relay::Accepted)> done) {
    relay.accepted(std::move(known), std::move(done));
  };
  return source;
}

}  // namespace hawser
