// SPDX-License-Identifier: Apache-2.0
#include "proxy/connections.h"

#include <map>
#include <optional>

#include "bootstrap/own_listeners.h"
#include "proxy/admin_answers.h"
#include "proxy/admin_client.h"

namespace hawser::proxy {
namespace {

// The part between prefix and suffix.
std::optional<std::string> between(std::string_view name, std::string_view prefix, std::string_view suffix) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size())
    return std::nullopt;
  return std::string(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
}

// Envoy counts each connection of a listener again by worker, and its own administration; and we ask a worker.
bool counted(const std::string& listener) {
  return listener.find(".worker_") == std::string::npos && !listener.starts_with("admin") &&
         listener != bootstrap::kWorkerListener;
}

}  // namespace

std::string connections_query() {
  return "/stats?usedonly&filter=" +
         AdminClient::encode(R"(^(listener|http|cluster)\..*\.(downstream|upstream)_(cx|rq)(_upgrades)?_active$)");
}

Connections parse_connections(std::string_view stats) {
  std::map<std::string, Connections::Manager> managers;
  std::map<std::string, Connections::Cluster> clusters;
  Connections out;
  for (const auto& [name, value] : parse_stats(stats)) {
    if (value == 0) continue;
    if (const auto listener = between(name, "listener.", ".downstream_cx_active")) {
      if (counted(*listener)) out.listeners.push_back({*listener, value});
    } else if (const auto upgraded = between(name, "http.", ".downstream_cx_upgrades_active")) {
      managers[*upgraded].upgraded = value;
    } else if (const auto http = between(name, "http.", ".downstream_cx_active")) {
      managers[*http].connections = value;
    } else if (const auto requests = between(name, "http.", ".downstream_rq_active")) {
      managers[*requests].requests = value;
    } else if (const auto cluster = between(name, "cluster.", ".upstream_cx_active")) {
      clusters[*cluster].connections = value;
    } else if (const auto asked = between(name, "cluster.", ".upstream_rq_active")) {
      clusters[*asked].requests = value;
    }
  }
  for (auto& [prefix, manager] : managers) {
    if (prefix == "admin" || prefix == bootstrap::kWorkerListener) continue;
    manager.prefix = prefix;
    out.managers.push_back(std::move(manager));
  }
  for (auto& [name, cluster] : clusters) {
    cluster.name = name;
    out.clusters.push_back(std::move(cluster));
  }
  return out;
}

}  // namespace hawser::proxy
