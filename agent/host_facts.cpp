// SPDX-License-Identifier: Apache-2.0
#include "host_facts.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/log.h"
#include "bootstrap/address.h"
#include "bootstrap/platform_detect.h"
#include "bootstrap/preflight.h"
#include "config/load.h"
#include "dial/look_up.h"
#include "dialling.h"
#include "status/time_text.h"
#include "xds/snapshot/addresses.h"

namespace hawser {
namespace {

// What the name leads to; when no name server answers, what it led to last. `folder` is where that is kept; empty:
// nowhere.
Result<std::vector<std::string>> addresses_of(const std::string& host, const std::string& folder) {
  auto found = dial::look_up(host);
  if (folder.empty()) return found;
  if (found) {
    const xds::snapshot::KnownAddresses known{*found, std::chrono::system_clock::now()};
    if (auto kept = xds::snapshot::remember_addresses(folder, host, known); !kept)
      log::warn("the control plane's addresses can't be kept for a start without a name server",
                {{"cause", kept.error().to_string()}});
    return found;
  }
  const auto book = xds::snapshot::load_addresses(folder);
  if (!book) log::warn(book.error().to_string());
  if (!book || !book->contains(host)) return found;
  const auto& known = book->at(host);
  log::warn("a name can't be looked up; the addresses that it last had are used",
            {{"name", host}, {"seen", status::utc_text(known.seen)}, {"cause", found.error().message()}});
  return known.addresses;
}

// Where packets to these go. A name that can't be looked up now is no reason to wait as long as another one can.
Result<std::vector<config::HostPort>> resolve(const std::vector<dial::Address>& addresses,
                                              const std::optional<dial::Selection::Proxy>& proxy,
                                              const std::string& folder) {
  std::vector<config::HostPort> out;
  std::optional<Error> unknown;
  const auto add = [&](const std::string& host, std::uint16_t port) {
    std::vector<std::string> found{host};
    if (!dial::is_literal(host)) {
      auto looked_up = addresses_of(host, folder);
      if (!looked_up) {
        unknown = Error(Code::kUnavailable, "HWS-HF-001", looked_up.error().message(), looked_up.error().hint());
        return;
      }
      found = std::move(*looked_up);
    }
    for (const auto& address : found) {
      const config::HostPort item{address, port};
      const auto same = [&](const config::HostPort& other) { return other.text() == item.text(); };
      if (std::none_of(out.begin(), out.end(), same)) out.push_back(item);
    }
  };
  for (const auto& address : addresses) {
    if (address.by_proxy && proxy) {
      add(proxy->host, proxy->port);
    } else {
      add(address.host, address.port);
    }
  }
  if (out.empty() && unknown) return *unknown;
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

Result<HostFacts> observe_host(const config::Config& config, const std::string& state_dir) {
  HostFacts facts;
  facts.hostname = own_hostname();
  facts.platform = bootstrap::platform_name(bootstrap::platform_of(bootstrap::observe_firmware()));
  auto proxy = load_proxy(config.control_plane.http_proxy);
  if (!proxy) return proxy.error();
  facts.proxy = *proxy;
  auto addresses = plane_addresses(config);
  const auto ca = ca_addresses(config);
  addresses.insert(addresses.end(), ca.begin(), ca.end());
  auto plane = resolve(addresses, facts.proxy, config.control_plane.snapshot.enabled ? state_dir + "/xds" : "");
  if (!plane) return plane.error();
  facts.plane = *plane;
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
