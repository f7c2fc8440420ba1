// SPDX-License-Identifier: Apache-2.0
#include "config/schema_control_plane.h"

#include "config/schema_value.h"

namespace hawser::config {
namespace {

auto host_port(HostPort& out) {
  return set<HostPort>(out, parse_host_port);
}

Status read_http_proxy(HostPort& out, std::string text) {
  constexpr std::string_view kScheme = "http://";
  if (text.starts_with("https://"))
    return bad("'" + text + "' is not http://",
               "what goes through the proxy is TLS itself: use the proxy's plain port");
  if (text.starts_with(kScheme)) text.erase(0, kScheme.size());
  if (text.ends_with('/')) text.pop_back();
  if (text.find('@') != std::string::npos)
    return bad("holds a password", "put user:password into a file and name it as control_plane.http_proxy_credentials");
  return host_port(out)(text);
}

void read_proxy(MapReader& map, HttpProxy& proxy) {
  map.scalar("http_proxy", [&proxy](const std::string& text) { return read_http_proxy(proxy.address, text); });
  map.text("http_proxy_credentials", proxy.credentials_file);
  if (!proxy.credentials_file.empty() && !proxy.credentials_file.starts_with('/'))
    map.fail("http_proxy_credentials", bad("is not an absolute path"));
  if (map.has("no_proxy")) proxy.no_proxy.clear();
  map.list("no_proxy", [&proxy](const std::string& text) -> Status {
    if (text.empty() || text.find_first_of(" ,*") != std::string::npos)
      return bad("'" + text + "' is not a name, a .suffix, an address or a CIDR");
    if (text.find('/') != std::string::npos)
      if (auto ok = check_cidr(text); !ok) return ok;
    proxy.no_proxy.push_back(text);
    return {};
  });
}

void read_snapshot(MapReader& map, SnapshotSettings& snapshot) {
  map.scalar("enabled", boolean(snapshot.enabled));
  map.scalar("max_age", seconds(snapshot.max_age));
  map.scalar("max_mib", number(snapshot.max_mib, 1, 4096));
}

}  // namespace

void read_addresses(MapReader& map, std::vector<PlaneAddress>& out) {
  if (map.has("addresses")) out.clear();
  map.each(
      "addresses",
      [&out](const std::string& text) -> Status {
        PlaneAddress item;
        if (auto read = host_port(item.at)(text); !read) return read;
        out.push_back(std::move(item));
        return {};
      },
      [&out](MapReader& entry) {
        PlaneAddress item;
        entry.scalar("address", host_port(item.at));
        entry.scalar("priority", number(item.priority, 0, 99));
        if (!entry.has("address"))
          entry.fail("address", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
        else
          out.push_back(std::move(item));
      });
}

void read_control_plane(MapReader& map, ControlPlane& plane) {
  map.scalar("address", host_port(plane.address));
  read_addresses(map, plane.addresses);
  if (plane.address.empty() && !plane.addresses.empty()) plane.address = plane.addresses.front().at;
  map.text("tls_name", plane.tls_name);
  map.text("root", plane.root_pem);
  if (map.has("root") && plane.root_pem.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    map.fail("root", bad("holds no PEM certificate", "paste the mesh's root-cert.pem as a block: root: |"));
  if (map.has("dial")) plane.dial.clear();
  map.list("dial", [&plane](const std::string& text) -> Status {
    if (auto ok = check_address(text); !ok) return ok;
    plane.dial.push_back(text);
    return {};
  });
  map.scalar("fail_over", number(plane.fail_over, 1, 100));
  map.scalar("fail_back", seconds(plane.fail_back));
  map.scalar("reconnect_spread", [&plane](const std::string& text) -> Status {
    auto value = parse_duration(text);
    if (!value) return value.error();
    if (*value > std::chrono::hours(1))
      return bad("is over 1h", "a host of a lost control plane must not stay away that long");
    plane.reconnect_spread = *value;
    return {};
  });
  map.scalar("max_response_mib", number(plane.max_response_mib, 4, 1024));
  map.map("snapshot", [&plane](MapReader& snapshot) { read_snapshot(snapshot, plane.snapshot); });
  read_proxy(map, plane.http_proxy);
}

}  // namespace hawser::config
