// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/rule.h"

#include <algorithm>

namespace hawser::netfilter {
namespace {

std::string to_string(const Mark& mark) {
  return mark.mask == 0xffffffff ? hex(mark.value) : hex(mark.value) + "/" + hex(mark.mask);
}

template <typename T, typename Text>
void append(std::string& out, const char* name, const std::vector<T>& values, Text text) {
  if (values.empty()) return;
  out += std::string(" ") + name + " ";
  for (std::size_t i = 0; i < values.size(); ++i) out += (i == 0 ? "" : ",") + text(values[i]);
}

const char* to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::kAny:
      return "";
    case Protocol::kTcp:
      return " tcp";
    case Protocol::kUdp:
      return " udp";
    case Protocol::kNotTcp:
      return " not tcp";
  }
  return "";
}

void append_owners(std::string& out, const Match& match) {
  const auto number = [](std::uint32_t value) { return std::to_string(value); };
  const auto mark = [](const Mark& value) { return to_string(value); };
  append(out, "uid", match.uids, [](const IdRange& range) { return netfilter::to_string(range); });
  append(out, "gid", match.gids, number);
  append(out, "gid not", match.not_gids, number);
  append(out, "cgroup", match.cgroups, [](const std::string& value) { return value; });
  append(out, "mark", match.marks, mark);
  append(out, "mark not", match.not_marks, mark);
  append(out, "connection mark", match.connection_marks, mark);
}

std::string to_string(const Match& match) {
  const auto range = [](const PortRange& value) { return netfilter::to_string(value); };
  const auto network = [](const Cidr& value) { return value.text(); };
  std::string out;
  if (match.family != Family::kBoth) out += match.family == Family::kIpv4 ? " ipv4" : " ipv6";
  out += to_string(match.protocol);
  if (match.midstream) out += " midstream";
  if (match.tracked != Tracked::kAny) out += match.tracked == Tracked::kInvalid ? " invalid" : " established";
  if (match.local) out += " to this host";
  if (match.not_local) out += " to elsewhere";
  append(out, "on", match.interfaces, [](const std::string& value) { return value; });
  append(out, "from", match.sources, network);
  append(out, "to", match.destinations, network);
  append(out, "not to", match.not_destinations, network);
  append(out, "sport", match.source_ports, range);
  append(out, "dport", match.destination_ports, range);
  append(out, "dport not", match.not_destination_ports, range);
  append_owners(out, match);
  return out;
}

std::string to_string(const Action& action) {
  switch (action.kind) {
    case Action::Kind::kLeave:
      return "left alone";
    case Action::Kind::kRedirect:
      return std::to_string(action.port);
    case Action::Kind::kTproxy:
      return "tproxy " + std::to_string(action.port) + " mark " + hex(action.mark);
    case Action::Kind::kRefuse:
      return "refused";
    case Action::Kind::kDrop:
      return "dropped";
    case Action::Kind::kDivert:
      return "diverted, mark " + hex(action.mark);
    case Action::Kind::kMark:
      return "mark " + hex(action.mark);
    case Action::Kind::kSaveMark:
      return "mark to connection";
    case Action::Kind::kRestoreMark:
      return "mark from connection";
    case Action::Kind::kZone:
      return "zone " + std::to_string(action.zone);
  }
  return "";
}

}  // namespace

std::string to_string(const IdRange& range) {
  const std::string first = std::to_string(range.first);
  return range.first == range.last ? first : first + "-" + std::to_string(range.last);
}

bool contains(const std::vector<IdRange>& ranges, std::uint32_t id) {
  return std::any_of(ranges.begin(), ranges.end(), [id](const IdRange& range) { return range.contains(id); });
}

bool outgoing(Hook hook) {
  return hook == Hook::kOutput || hook == Hook::kMangleOutput || hook == Hook::kRawOutput;
}

const char* to_string(Hook hook) {
  switch (hook) {
    case Hook::kRawOutput:
      return "raw_output";
    case Hook::kRawPrerouting:
      return "raw_prerouting";
    case Hook::kMangleOutput:
      return "mangle_output";
    case Hook::kManglePrerouting:
      return "mangle_prerouting";
    case Hook::kOutput:
      return "output";
    case Hook::kPrerouting:
      return "prerouting";
  }
  return "unknown";
}

const char* to_string(Purpose purpose) {
  switch (purpose) {
    case Purpose::kProbe:
      return "probe";
    case Purpose::kOwnProbe:
      return "own_probe";
    case Purpose::kNotTcp:
      return "not_tcp";
    case Purpose::kMidstream:
      return "midstream";
    case Purpose::kSsh:
      return "ssh";
    case Purpose::kDhcp:
      return "dhcp";
    case Purpose::kMetadata:
      return "metadata";
    case Purpose::kControlPlane:
      return "control_plane";
    case Purpose::kOwnPort:
      return "own_port";
    case Purpose::kPassthrough:
      return "passthrough";
    case Purpose::kSelfCall:
      return "self_call";
    case Purpose::kExemptUser:
      return "exempt_user";
    case Purpose::kExemptGroup:
      return "exempt_group";
    case Purpose::kExemptCgroup:
      return "exempt_cgroup";
    case Purpose::kExemptMark:
      return "exempt_mark";
    case Purpose::kHbone:
      return "hbone";
    case Purpose::kInterface:
      return "interface";
    case Purpose::kGroup:
      return "group";
    case Purpose::kUserPort:
      return "user_port";
    case Purpose::kDns:
      return "dns";
    case Purpose::kDnsZone:
      return "dns_zone";
    case Purpose::kResolver:
      return "resolver";
    case Purpose::kLoopback:
      return "loopback";
    case Purpose::kTransit:
      return "transit";
    case Purpose::kExcludedPort:
      return "excluded_port";
    case Purpose::kExcludedCidr:
      return "excluded_cidr";
    case Purpose::kNotIncluded:
      return "not_included";
    case Purpose::kInvalid:
      return "invalid";
    case Purpose::kReturnPath:
      return "return_path";
    case Purpose::kEstablished:
      return "established";
    case Purpose::kRedirect:
      return "redirect";
  }
  return "unknown";
}

bool Action::final() const {
  switch (kind) {
    case Kind::kMark:
    case Kind::kSaveMark:
    case Kind::kRestoreMark:
    case Kind::kZone:
      return false;
    default:
      return true;
  }
}

bool Action::captures() const {
  return kind == Kind::kRedirect || kind == Kind::kTproxy || kind == Kind::kRefuse;
}

std::string to_string(const Rule& rule) {
  const char* table = rule.hook < Hook::kMangleOutput ? "raw " : rule.hook < Hook::kOutput ? "mangle " : "";
  return std::string(table) + (outgoing(rule.hook) ? "out " : "in ") + to_string(rule.purpose) + ":" +
         to_string(rule.match) + " → " + to_string(rule.action);
}

}  // namespace hawser::netfilter
