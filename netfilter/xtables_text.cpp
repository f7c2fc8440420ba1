// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// The printed form of emit_xtables.h, in the language of iptables-restore(8).

#include "netfilter/emit_xtables.h"

namespace hawser::netfilter {
namespace {

std::string masked(const Mark& mark) {
  return hex(mark.value) + "/" + hex(mark.mask);
}

std::string ports(const std::vector<PortRange>& ranges) {
  std::string out;
  for (const PortRange& range : ranges) {
    out += (out.empty() ? "" : ",") + std::to_string(range.first);
    if (range.first != range.last) out += ":" + std::to_string(range.last);
  }
  return out;
}

std::string interface_name(std::string name) {
  if (!name.empty() && name.back() == '*') name.back() = '+';
  return name;
}

std::string addresses(const Match& match) {
  std::string out;
  for (const Cidr& source : match.sources) out += " -s " + source.text();
  for (const Cidr& destination : match.destinations) out += " -d " + destination.text();
  for (const Cidr& destination : match.not_destinations) out += " ! -d " + destination.text();
  return out;
}

const char* protocol(Protocol value) {
  switch (value) {
    case Protocol::kAny:
      return "";
    case Protocol::kTcp:
      return " -p tcp";
    case Protocol::kUdp:
      return " -p udp";
    case Protocol::kNotTcp:
      return " ! -p tcp";
  }
  return "";
}

// A single port or range is the protocol's own match, lists are multiport's.
std::string transport(const Match& match) {
  const bool one_source = match.source_ports.size() == 1;
  const bool one_destination = match.destination_ports.size() == 1;
  std::string out;
  if (one_source || one_destination || match.midstream) {
    out += match.protocol == Protocol::kUdp ? " -m udp" : " -m tcp";
    if (one_source) out += " --sport " + ports(match.source_ports);
    if (one_destination) out += " --dport " + ports(match.destination_ports);
    if (match.midstream) out += " ! --tcp-flags FIN,SYN,RST,ACK SYN";
  }
  if (match.source_ports.size() > 1) out += " -m multiport --sports " + ports(match.source_ports);
  if (match.destination_ports.size() > 1) out += " -m multiport --dports " + ports(match.destination_ports);
  return out;
}

std::string owners(const Match& match) {
  std::string out;
  if (!match.uids.empty() || !match.gids.empty()) out += " -m owner";
  for (const IdRange& uids : match.uids) out += " --uid-owner " + to_string(uids);
  for (const auto gid : match.gids) out += " --gid-owner " + std::to_string(gid);
  for (const auto gid : match.not_gids) out += " -m owner ! --gid-owner " + std::to_string(gid);
  for (const auto& path : match.cgroups) out += " -m cgroup --path " + path;
  for (const auto& mark : match.marks) out += " -m mark --mark " + masked(mark);
  for (const auto& mark : match.not_marks) out += " -m mark ! --mark " + masked(mark);
  for (const auto& mark : match.connection_marks) out += " -m connmark --mark " + masked(mark);
  return out;
}

std::string target(const XtTarget& target, Family family) {
  using What = XtTarget::Kind;
  switch (target.kind) {
    case What::kReturn:
      return " -j RETURN";
    case What::kGoto:
      return " -g " + target.chain;
    case What::kJump:
      return " -j " + target.chain;
    case What::kDrop:
      return " -j DROP";
    case What::kRedirect:
      return " -j REDIRECT --to-ports " + std::to_string(target.port);
    case What::kTproxy:
      return " -j TPROXY --on-port " + std::to_string(target.port) + " --on-ip " +
             (family == Family::kIpv6 ? "::" : "0.0.0.0") + " --tproxy-mark " + hex(target.mark) + "/0xffffffff";
    case What::kReject:
      return " -j REJECT --reject-with tcp-reset";
    case What::kMark:
      return " -j MARK --set-xmark " + hex(target.mark) + "/0xffffffff";
    case What::kSaveMark:
      return " -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff";
    case What::kRestoreMark:
      return " -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff";
    case What::kZone:
      return " -j CT --zone " + std::to_string(target.zone);
  }
  return "";
}

std::string line(const XtChain& chain, const XtEntry& entry, Family family) {
  const Match& match = entry.match;
  std::string out = "-A " + chain.name + addresses(match);
  for (const auto& name : match.interfaces) out += (chain.outgoing ? " -o " : " -i ") + interface_name(name);
  out += protocol(match.protocol) + transport(match);
  for (const auto& range : match.not_destination_ports) out += " -m multiport ! --dports " + ports({range});
  if (match.tracked == Tracked::kInvalid) out += " -m conntrack --ctstate INVALID";
  if (match.tracked == Tracked::kEstablished) out += " -m conntrack --ctstate RELATED,ESTABLISHED";
  if (entry.translated) out += " -m conntrack --ctstate DNAT";
  if (match.local) out += " -m addrtype --dst-type LOCAL";
  if (match.not_local) out += " -m addrtype ! --dst-type LOCAL";
  out += owners(match);
  if (!entry.comment.empty()) out += " -m comment --comment \"" + entry.comment + "\"";
  return out + target(entry.target, family) + "\n";
}

}  // namespace

std::string to_iptables(const XtablesForm& form, Family family) {
  std::string out;
  for (const XtTableForm& table : form.tables) {
    if (table.family != family) continue;
    out += std::string("*") + to_string(table.table) + "\n";
    for (const XtChain& chain : table.chains) out += ":" + chain.name + " - [0:0]\n";
    for (const XtJump& jump : table.jumps)
      out +=
          "-I " + jump.from + " 1 -m comment --comment \"" + jump_comment(form.digest, "") + "\" -j " + jump.to + "\n";
    for (const XtChain& chain : table.chains)
      for (const XtEntry& entry : chain.entries) out += line(chain, entry, table.family);
    out += "COMMIT\n";
  }
  return out;
}

}  // namespace hawser::netfilter
