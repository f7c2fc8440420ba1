// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What arrives from elsewhere, where its address stays as it is (Documentation/networking/tproxy.rst).
//
// Three kinds of packets have marks. `mark` is on what has to reach the proxy's sockets although its destination isn't
// this host's: the proxy calls the program with the caller's address, from a socket with that mark; the connection
// keeps it, and gives it to the program's answers, which a route for this mark brings back to the proxy. `mark + 1` is
// on what the proxy, or the agent's probe, calls at this host's own address: it comes in by lo, where nothing else is
// captured.
#include "netfilter/plan_builder.h"

namespace hawser::netfilter {
namespace {

Mark returning(const Builder& builder) {
  return {builder.intent().tproxy.mark, builder.intent().tproxy.mask};
}
Mark own_call(const Builder& builder) {
  return {builder.intent().tproxy.mark + 1, builder.intent().tproxy.mask};
}

Action marked(Action::Kind kind, const Mark& mark) {
  Action action{kind};
  action.mark = mark.value;
  return action;
}

void add_mangle_output(Builder& builder) {
  constexpr Hook hook = Hook::kMangleOutput;
  Match to_program = on_interface("lo");
  to_program.protocol = Protocol::kTcp;
  to_program.marks = {returning(builder)};
  builder.leave(hook, Purpose::kReturnPath, std::move(to_program));
  const Action call = marked(Action::Kind::kMark, own_call(builder));
  add_own_probes(builder, hook, call);
  add_self_call(builder, hook, call);
  Match answers = with_protocol(Protocol::kTcp);
  answers.connection_marks = {returning(builder)};
  builder.add(hook, Purpose::kReturnPath, std::move(answers), {Action::Kind::kRestoreMark});
}

void add_return_path(Builder& builder) {
  constexpr Hook hook = Hook::kManglePrerouting;
  Match marked_packets = with_protocol(Protocol::kTcp);
  marked_packets.marks = {returning(builder)};
  builder.add(hook, Purpose::kReturnPath, marked_packets, {Action::Kind::kSaveMark});
  builder.leave(hook, Purpose::kReturnPath, std::move(marked_packets));
  for (const char* address : {"127.0.0.6", "::6"}) {
    Match passed_on = on_interface("lo");
    passed_on.sources = {parse_cidr(address).value()};
    passed_on.family = passed_on.sources.front().family;
    builder.leave(hook, Purpose::kPassthrough, std::move(passed_on));
  }
}

void add_proxied(Builder& builder, Purpose purpose, Match match) {
  Action action = marked(Action::Kind::kTproxy, returning(builder));
  action.port = static_cast<std::uint16_t>(builder.intent().inbound_port);
  match.protocol = Protocol::kTcp;
  builder.add(Hook::kManglePrerouting, purpose, std::move(match), action);
}

}  // namespace

void add_tproxy(Builder& builder) {
  constexpr Hook hook = Hook::kManglePrerouting;
  add_mangle_output(builder);
  add_return_path(builder);
  Match probe = on_interface(kProbeInterface);
  probe.destination_ports = {{kProbePort, kProbePort}};
  add_proxied(builder, Purpose::kProbe, std::move(probe));
  builder.leave(hook, Purpose::kNotTcp, with_protocol(Protocol::kNotTcp));
  Match local = on_interface("lo");
  local.not_marks = {own_call(builder)};
  builder.leave(hook, Purpose::kLoopback, std::move(local));
  add_inbound_exemptions(builder, hook);
  if (builder.intent().drop_invalid) add_invalid_drop(builder);
  // TPROXY would drop packets of a connection that the program itself accepted, before the rules were there.
  Match established = with_protocol(Protocol::kTcp);
  established.tracked = Tracked::kEstablished;
  established.destination_ports = builder.parts().inbound_ports;
  builder.add(hook, Purpose::kEstablished, std::move(established), marked(Action::Kind::kDivert, returning(builder)));
  builder.leave(hook, Purpose::kMidstream, midstream());
  for (const Family family : kFamilies) {
    Match match;
    match.family = family;
    match.destination_ports = builder.parts().inbound_ports;
    add_proxied(builder, Purpose::kRedirect, std::move(match));
  }
}

}  // namespace hawser::netfilter
