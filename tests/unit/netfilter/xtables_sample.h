// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "netfilter/plan.h"

namespace hawser::netfilter {

// A rule of each kind that rule.h knows, as far as this kernel's tables take it.
inline Plan every_kind() {
  using Kind = Action::Kind;
  Plan plan;
  plan.outbound = plan.inbound = plan.ipv4 = plan.ipv6 = true;
  plan.outbound_port = 15001;
  plan.inbound_port = 15006;
  plan.digest = std::string(64, 'a');
  const auto add = [&plan](Hook hook, Purpose purpose, Match match, Action action) {
    plan.rules.push_back({hook, purpose, std::move(match), action});
  };
  const auto matching = [](auto change) {
    Match match;
    change(match);
    return match;
  };
  Action zone{Kind::kZone};
  zone.zone = 1;
  Action mark{Kind::kMark};
  mark.mark = 1338;
  Action divert{Kind::kDivert};
  divert.mark = 1337;
  Action tproxy{Kind::kTproxy, 15006, 1337};
  const Action redirect{Kind::kRedirect, 15001};
  const auto udp53 = [](Match& m) {
    m.protocol = Protocol::kUdp;
    m.destination_ports = {{53, 53}};
  };
  add(Hook::kRawOutput, Purpose::kDnsZone, matching(udp53), zone);
  add(Hook::kRawPrerouting, Purpose::kDnsZone, matching([](Match& m) {
        m.protocol = Protocol::kUdp;
        m.source_ports = {{53, 53}};
        m.sources = {parse_cidr("10.0.0.53").value()};
        m.family = Family::kIpv4;
      }),
      zone);
  add(Hook::kMangleOutput, Purpose::kReturnPath, matching([](Match& m) { m.connection_marks = {{1337}}; }),
      {Kind::kRestoreMark});
  add(Hook::kMangleOutput, Purpose::kSelfCall, matching([](Match& m) {
        m.interfaces = {"lo"};
        m.family = Family::kIpv4;
        m.not_destinations = {parse_cidr("127.0.0.1/32").value()};
        m.uids = {882};
      }),
      mark);
  add(Hook::kManglePrerouting, Purpose::kReturnPath, matching([](Match& m) { m.marks = {{0x100, 0xf00}}; }), {});
  add(Hook::kManglePrerouting, Purpose::kLoopback, matching([](Match& m) {
        m.interfaces = {"lo"};
        m.not_marks = {{1338}, {1339}};
      }),
      {});
  add(Hook::kManglePrerouting, Purpose::kEstablished, matching([](Match& m) {
        m.protocol = Protocol::kTcp;
        m.tracked = Tracked::kEstablished;
      }),
      divert);
  add(Hook::kManglePrerouting, Purpose::kInvalid, matching([](Match& m) {
        m.protocol = Protocol::kTcp;
        m.tracked = Tracked::kInvalid;
        m.destination_ports = {{80, 80}, {8000, 8100}};
      }),
      {Kind::kDrop});
  add(Hook::kManglePrerouting, Purpose::kReturnPath, matching([](Match& m) { m.marks = {{1337}}; }), {Kind::kSaveMark});
  add(Hook::kManglePrerouting, Purpose::kRedirect, matching([](Match& m) {
        m.protocol = Protocol::kTcp;
        m.local = true;
      }),
      tproxy);
  add(Hook::kOutput, Purpose::kExemptUser, matching([](Match& m) { m.uids = {881, 882}; }), {});
  add(Hook::kOutput, Purpose::kExemptGroup, matching([](Match& m) { m.gids = {882}; }), {});
  add(Hook::kOutput, Purpose::kNotTcp, matching([](Match& m) { m.protocol = Protocol::kNotTcp; }), {});
  add(Hook::kOutput, Purpose::kMidstream, matching([](Match& m) {
        m.protocol = Protocol::kTcp;
        m.midstream = true;
        m.source_ports = {{22, 22}};
      }),
      {});
  add(Hook::kOutput, Purpose::kGroup, matching([](Match& m) { m.not_gids = {500, 501, 502}; }), {});
  add(Hook::kOutput, Purpose::kInterface, matching([](Match& m) { m.interfaces = {"docker*", "eth1"}; }), {});
  add(Hook::kOutput, Purpose::kUserPort, matching([](Match& m) {
        m.protocol = Protocol::kTcp;
        m.uids = {1, 2, {3, 9}, 14, 15};
        for (std::uint32_t port = 1000; port < 1100; port += 2) m.destination_ports.push_back({port, port});
      }),
      {});
  add(Hook::kOutput, Purpose::kExcludedPort, matching([](Match& m) {
        m.protocol = Protocol::kTcp;
        m.not_destination_ports = {{80, 80}, {443, 450}};
      }),
      {});
  add(Hook::kOutput, Purpose::kExcludedCidr, matching([](Match& m) {
        m.family = Family::kIpv4;
        for (unsigned i = 0; i < 1000; ++i)
          m.destinations.push_back(
              parse_cidr("10." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24").value());
      }),
      {});
  add(Hook::kOutput, Purpose::kNotIncluded, matching([](Match& m) {
        m.family = Family::kIpv6;
        m.not_destinations = {parse_cidr("fd00::/8").value(), parse_cidr("2001:db8::/32").value()};
      }),
      {});
  add(Hook::kOutput, Purpose::kRedirect, matching([](Match& m) { m.protocol = Protocol::kTcp; }), redirect);
  add(Hook::kPrerouting, Purpose::kTransit, matching([](Match& m) { m.not_local = true; }), {});
  add(Hook::kPrerouting, Purpose::kRedirect, matching([](Match& m) {
        m.protocol = Protocol::kTcp;
        m.destination_ports = {{8080, 8080}};
      }),
      {Kind::kRefuse});
  return plan;
}

}  // namespace hawser::netfilter
