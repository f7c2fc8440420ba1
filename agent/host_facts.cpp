// SPDX-License-Identifier: Apache-2.0
#include "host_facts.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/log.h"
#include "bootstrap/address.h"
#include "bootstrap/platform_detect.h"
#include "bootstrap/preflight.h"
#include "config/load.h"

namespace hawser {
namespace {

bool is_v6(const std::string& address) {
  return address.find(':') != std::string::npos;
}

// gRPC's ipv4: and ipv6: resolvers take a list of one family.
std::string target_of(const std::vector<config::HostPort>& endpoints) {
  const bool v6 = is_v6(endpoints.front().host);
  std::string text;
  for (const auto& endpoint : endpoints)
    if (is_v6(endpoint.host) == v6) text += (text.empty() ? "" : ",") + endpoint.text();
  return (v6 ? "ipv6:" : "ipv4:") + text;
}

Result<std::vector<std::string>> look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int rc = getaddrinfo(host.c_str(), nullptr, &hints, &found); rc != 0)
    return Error(Code::kUnavailable, "HWS-HF-001", "'" + host + "' can't be looked up: " + gai_strerror(rc),
                 "set control_plane.dial to the address of the control plane's gateway");
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> guard(found, freeaddrinfo);
  std::vector<std::string> out;
  for (const addrinfo* item = found; item != nullptr; item = item->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (getnameinfo(item->ai_addr, item->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0)
      continue;
    if (std::find(out.begin(), out.end(), text.data()) == out.end()) out.emplace_back(text.data());
  }
  return out;
}

// Where to dial: what is configured, else what the name leads to.
Result<std::vector<config::HostPort>> dial_list(const config::HostPort& endpoint,
                                                const std::vector<std::string>& configured) {
  std::vector<std::string> addresses = configured;
  if (addresses.empty()) {
    auto found = look_up(endpoint.host);
    if (!found) return found.error();
    addresses = std::move(*found);
  }
  std::vector<config::HostPort> out;
  for (const auto& address : addresses) out.push_back({address, endpoint.port});
  return out;
}

Result<bootstrap::AddressChoice> choose_own(const config::Workload& workload, const std::string& plane) {
  bootstrap::AddressRule rule;
  rule.fixed = workload.addresses;
  rule.interface = workload.address_rule.interface;
  rule.cidrs = workload.address_rule.cidrs;
  rule.family = static_cast<bootstrap::AddressRule::Family>(workload.address_rule.family);
  auto choice = bootstrap::choose_addresses(rule, bootstrap::observe_addresses(plane));
  if (!choice) return choice;
  for (const auto& other : choice->rejected)
    log::debug("address not told", {{"address", other.address}, {"interface", other.interface}, {"why", other.reason}});
  return choice;
}

std::string own_hostname() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

}  // namespace

Result<HostFacts> observe_host(const config::Config& config) {
  HostFacts facts;
  facts.hostname = own_hostname();
  facts.platform = bootstrap::platform_name(bootstrap::platform_of(bootstrap::observe_firmware()));
  auto plane = dial_list(config.control_plane.address, config.control_plane.dial);
  if (!plane) return plane.error();
  facts.plane = *plane;
  facts.dial_target = target_of(*plane);
  auto ca = plane;
  if (!config.ca.empty() && config.ca.text() != config.control_plane.address.text()) {
    // the configured addresses are the plane's gateway: they serve the CA too when the host is the same
    const bool same_host = config.ca.host == config.control_plane.address.host;
    ca = dial_list(config.ca, same_host ? config.control_plane.dial : std::vector<std::string>{});
    if (!ca) return ca.error();
    facts.plane.insert(facts.plane.end(), ca->begin(), ca->end());
  }
  for (const auto& endpoint : *ca) facts.ca.push_back(endpoint.text());
  auto own = choose_own(config.workload, plane->front().host);
  if (!own) return own.error();
  facts.own = std::move(*own);
  facts.addresses = facts.own.addresses;
  return facts;
}

Status judge_host(const config::Config& config, const HostFacts& facts) {
  auto agent_uid = config::resolve_user(config.users.agent);
  if (!agent_uid) return agent_uid.error();
  auto proxy_uid = config::resolve_user(config.users.proxy);
  if (!proxy_uid) return proxy_uid.error();
  bootstrap::Expectations wanted{facts.addresses, *agent_uid, *proxy_uid};
  bootstrap::Observations seen;
  for (const auto& own : bootstrap::observe_addresses(facts.plane.front().host).interfaces)
    seen.own_addresses.push_back(own.address);
  const bootstrap::Findings findings = bootstrap::judge(seen, wanted);
  for (const auto& warning : findings.warnings) log::warn(warning.to_string());
  if (!findings.errors.empty()) return findings.errors.front();
  return {};
}

}  // namespace hawser
