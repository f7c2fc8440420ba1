// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What arrives from elsewhere, where its address is rewritten.
#include "netfilter/plan_builder.h"

namespace hawser::netfilter {

void add_inbound_exemptions(Builder& builder, Hook hook) {
  const Parts& parts = builder.parts();
  Match transit;
  transit.not_local = true;  // what a router, or a host of containers, forwards isn't this workload's
  builder.leave(hook, Purpose::kTransit, std::move(transit));
  add_interfaces(builder, hook);
  add_ssh(builder, hook);
  builder.leave_networks(hook, Purpose::kMetadata, parts.metadata);
  builder.leave_ports(hook, Purpose::kOwnPort, parts.own_ports);
  if (const std::uint32_t hbone = builder.intent().hbone_port; hbone != 0)
    builder.leave_ports(hook, Purpose::kHbone, {{hbone, hbone}});
  builder.leave_ports(hook, Purpose::kExcludedPort, parts.inbound_exclude);
}

void add_prerouting(Builder& builder) {
  constexpr Hook hook = Hook::kPrerouting;
  const Intent& intent = builder.intent();
  Match probe = on_interface(kProbeInterface);
  probe.destination_ports = {{kProbePort, kProbePort}};
  builder.capture(hook, Purpose::kProbe, std::move(probe), intent.inbound_port);
  builder.leave(hook, Purpose::kNotTcp, with_protocol(Protocol::kNotTcp));
  builder.leave(hook, Purpose::kMidstream, midstream());
  builder.leave(hook, Purpose::kLoopback, on_interface("lo"));
  add_inbound_exemptions(builder, hook);
  // Whatever came so far wasn't for us: the rest goes to the proxy, in each family that has a listener.
  for (const Family family : kFamilies) {
    Match match;
    match.family = family;
    match.destination_ports = builder.parts().inbound_ports;
    builder.capture(hook, Purpose::kRedirect, std::move(match), intent.inbound_port);
  }
}

// Packets outside of the window of a rewritten connection aren't rewritten, and the peer that gets them so answers with
// a reset. With TPROXY, plan_tproxy.cpp has this rule in its own chain.
void add_invalid_drop(Builder& builder) {
  constexpr Hook hook = Hook::kManglePrerouting;
  if (!builder.parts().tproxy) {
    builder.leave(hook, Purpose::kNotTcp, with_protocol(Protocol::kNotTcp));
    builder.leave(hook, Purpose::kLoopback, on_interface("lo"));
    add_inbound_exemptions(builder, hook);
  }
  Match match = with_protocol(Protocol::kTcp);
  match.tracked = Tracked::kInvalid;
  match.destination_ports = builder.parts().inbound_ports;
  builder.add(hook, Purpose::kInvalid, std::move(match), {Action::Kind::kDrop});
}

}  // namespace hawser::netfilter
