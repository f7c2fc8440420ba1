// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/plan.h"

#include <sha2.h>

#include <algorithm>

#include "netfilter/plan_builder.h"
#include "netfilter/plan_check.h"

namespace hawser::netfilter {
namespace {

std::string digest_of(const std::vector<Rule>& rules) {
  std::string text;
  for (const Rule& rule : rules) text += to_string(rule) + "\n";
  char hex[SHA256_DIGEST_STRING_LENGTH] = {};
  ::SHA256Data(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), hex);
  return hex;
}

Prober prober_of(const Owner& exempt) {
  Prober out;
  while (out.uid > 1 && contains(exempt.uids, out.uid)) --out.uid;
  while (out.gid > 1 && std::find(exempt.gids.begin(), exempt.gids.end(), out.gid) != exempt.gids.end()) --out.gid;
  return out;
}

void add_rules(Builder& builder) {
  const Intent& intent = builder.intent();
  const bool tproxy = builder.parts().tproxy;
  add_dns_zones(builder);
  if (tproxy) add_tproxy(builder);
  if (!tproxy && intent.capture_inbound && intent.drop_invalid) add_invalid_drop(builder);
  if (intent.capture_outbound) add_output(builder);
  if (!tproxy && intent.capture_inbound) add_prerouting(builder);
}

}  // namespace

Result<Plan> compile(const Intent& intent, const Guard& guard) {
  if (auto valid = check(intent); !valid) return valid.error();
  const auto parts = prepare(intent, guard);
  if (!parts) return parts.error();
  Plan plan;
  Builder builder(intent, *parts, plan.rules);
  add_rules(builder);
  plan.outbound = intent.capture_outbound;
  plan.inbound = intent.capture_inbound;
  plan.ipv4 = intent.ipv4;
  plan.ipv6 = intent.ipv6;
  plan.outbound_port = static_cast<std::uint16_t>(intent.outbound_port);
  plan.inbound_port = static_cast<std::uint16_t>(intent.inbound_port);
  if (!parts->dns_families.empty()) plan.dns_port = static_cast<std::uint16_t>(intent.dns.port);
  plan.dns_probes = parts->dns_probes;
  plan.prober = prober_of(parts->exempt);
  if (parts->tproxy) plan.tproxy = intent.tproxy;
  plan.digest = digest_of(plan.rules);
  return plan;
}

}  // namespace hawser::netfilter
