// SPDX-License-Identifier: Apache-2.0
#include "config/schema.h"

#include <array>

#include "config/schema_control_plane.h"
#include "config/schema_parts.h"
#include "config/schema_value.h"

namespace hawser::config {
namespace {

void read_log(MapReader& map, LogSettings& log) {
  map.scalar("level", choice({"debug", "info", "warn", "error"},
                             [&log](std::size_t i) { log.level = static_cast<log::Level>(i); }));
  map.scalar("format", choice({"text", "json"}, [&log](std::size_t i) { log.format = static_cast<log::Format>(i); }));
}

void read_mesh(MapReader& map, Mesh& mesh) {
  map.text("trust_domain", mesh.trust_domain);
  map.text("id", mesh.id);
  map.text("cluster_id", mesh.cluster_id);
  map.text("network", mesh.network);
  map.text("namespace", mesh.ns);
}

}  // namespace

void read_document(MapReader& root, Config& config) {
  root.map("log", [&](MapReader& map) { read_log(map, config.log); });
  root.map("users", [&](MapReader& map) {
    map.text("agent", config.users.agent);
    map.text("proxy", config.users.proxy);
    map.text("admin_group", config.users.admin_group);
  });
  root.map("mesh", [&](MapReader& map) { read_mesh(map, config.mesh); });
  root.map("workload", [&](MapReader& map) { read_workload(map, config.workload); });
  root.map("control_plane", [&](MapReader& map) { read_control_plane(map, config.control_plane); });
  read_identity(root, config);
  root.map("interception", [&](MapReader& map) { read_interception(map, config.interception); });
  root.map("health", [&](MapReader& map) { read_health(map, config.health); });
  root.map("proxy", [&](MapReader& map) {
    map.scalar("concurrency", number(config.proxy.concurrency, 0, 1024));
    map.scalar("drain", seconds(config.proxy.drain));
    map.scalar("start_timeout", seconds(config.proxy.start_timeout));
    map.scalar("parent_shutdown", seconds(config.proxy.parent_shutdown));
    map.scalar("shutdown_drain", seconds(config.proxy.shutdown_drain));
    const std::vector<std::string> levels{"trace", "debug", "info", "warning", "error", "critical", "off"};
    map.scalar("log_level", choice(levels, [&config, &levels](std::size_t i) { config.proxy.log_level = levels[i]; }));
    map.scalar("log_format", choice({"json", "text"}, [&config](std::size_t i) { config.proxy.json_log = i == 0; }));
    map.scalar("wedge_after", seconds(config.proxy.wedge_after));
    map.scalar("probation", seconds(config.proxy.probation));
    map.scalar("hand_over", choice({"auto", "side-by-side", "hot-restart", "planned-cold"}, [&config](std::size_t i) {
                 config.proxy.hand_over = std::array{"auto", "side-by-side", "hot-restart", "planned-cold"}[i];
               }));
    map.scalar("canary", seconds(config.proxy.canary));
    map.scalar("auto_cold", boolean(config.proxy.auto_cold));
    map.scalar("hand_overs_per_hour", number(config.proxy.hand_overs_per_hour, 0, 3600));
  });
  root.map("compat", [&](MapReader& map) {
    map.scalar("istio_extensions",
               choice({"strip", "keep"}, [&config](std::size_t i) { config.compat.strip_istio_extensions = i == 0; }));
  });
  root.map("proxyless", [&](MapReader& map) {
    map.scalar("enabled", boolean(config.proxyless.enabled));
    if (map.has("users")) config.proxyless.users.clear();
    map.list("users", [&](const std::string& name) -> Status {
      config.proxyless.users.push_back(name);
      return {};
    });
    map.text("group", config.proxyless.group);
  });
  root.map("status", [&](MapReader& map) { map.scalar("port", set<std::uint16_t>(config.status_port, parse_port)); });
}

void check_whole(const Config& config, std::vector<Error>& errors) {
  check_registration(config, errors);
  if (!config.joined()) return;
  const auto missing = [&errors](const std::string& key, const std::string& hint) {
    errors.emplace_back(Code::kFailedPrecondition, "HWS-CF-005", key + " is missing", hint);
  };
  check_identity(config, errors);
  if (config.control_plane.root_pem.empty())
    missing("control_plane.root", "put the mesh's root certificate there, or run 'hawser join DIR'");
  if (config.proxyless.enabled && config.proxyless.users.empty() && config.proxyless.group.empty())
    missing("proxyless.users",
            "list the users, or a group, whose programs may ask the control plane through the relay");
  if (config.workload.name.empty()) missing("workload.name", "name the workload, e.g. after its WorkloadGroup");
}

}  // namespace hawser::config
