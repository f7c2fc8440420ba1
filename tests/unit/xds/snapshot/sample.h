// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "xds/snapshot/store.h"
#include "xds/snapshot/times.h"

namespace hawser::xds::snapshot::test {

inline const std::string kClusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
inline const std::string kListeners = "type.googleapis.com/envoy.config.listener.v3.Listener";
inline const std::string kRoutes = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
inline const Loop::Wall kNow = wall_of_ms(1'800'000'000'123);

inline records::Item item(const std::string& name, const std::string& version, const std::string& body) {
  const auto owner = std::make_shared<std::pair<std::string, std::string>>(version, body);
  return {name, owner->first, owner->second, owner};
}

struct File {
  std::string bytes;
  std::uint64_t checksum = 0;
};
inline File written(const records::Header& header, const std::vector<records::Item>& items) {
  File out;
  const auto done = records::write(header, items, [&](std::string_view piece) -> Status {
    out.bytes.append(piece);
    return {};
  });
  out.checksum = done->checksum;
  return out;
}

inline records::Header header(const std::string& type) {
  return {type, "2026-11/7", "spiffe://mesh/ns/a/sa/b", kNow, true};
}

inline Store::Change::Type type_of(const std::string& type,
                                   const std::vector<std::pair<std::string, std::string>>& all) {
  Store::Change::Type out{header(type), {}};
  for (const auto& [name, body] : all) out.items.push_back(item(name, "v1", body));
  return out;
}

inline Manifest manifest() {
  return {"spiffe://mesh/ns/a/sa/b", "plan", kNow, 0, {}};
}

}  // namespace hawser::xds::snapshot::test
