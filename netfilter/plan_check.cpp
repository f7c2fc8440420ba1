// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What an intent may be.
#include <net/if.h>

#include <algorithm>

#include "netfilter/plan_check.h"

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxPorts = 1024;
constexpr std::size_t kMaxCidrs = 16384;
constexpr std::size_t kMaxNever = 64;
constexpr std::size_t kMaxOwnProbes = 128;
constexpr std::size_t kMaxOwners = 256;
constexpr std::size_t kMaxCgroups = 64;
constexpr std::size_t kMaxInterfaces = 64;
constexpr std::size_t kMaxServices = 64;
constexpr std::size_t kMaxUserPorts = 64;
constexpr std::size_t kMaxResolvers = 64;
constexpr std::size_t kMaxCgroupPath = 511;  // linux/netfilter/xt_cgroup.h, less the end

Error bad(const char* id, std::string message, std::string hint) {
  return {Code::kInvalidArgument, id, std::move(message), std::move(hint)};
}

bool plain(char c) {
  return c > ' ' && c < '\x7f' && c != '"' && c != '\\';
}

Status check_count(std::size_t count, std::size_t limit, const std::string& what) {
  if (count <= limit) return {};
  return Error(Code::kResourceExhausted, "HWS-NF-007",
               what + ": " + std::to_string(count) + " entries, at most " + std::to_string(limit),
               "summarise them in fewer, larger ranges");
}

Status check_counts(const Intent& intent) {
  struct Count {
    std::size_t count;
    std::size_t limit;
    const char* what;
  };
  const Count counts[] = {{intent.inbound_ports.size(), kMaxPorts, "inbound ports"},
                          {intent.inbound_exclude.size(), kMaxPorts, "excluded inbound ports"},
                          {intent.services.size(), kMaxServices, "services"},
                          {intent.outbound_ports.size(), kMaxPorts, "outbound ports"},
                          {intent.outbound_exclude.size(), kMaxPorts, "excluded outbound ports"},
                          {intent.outbound_cidrs.size(), kMaxCidrs, "outbound networks"},
                          {intent.outbound_exclude_cidrs.size(), kMaxCidrs, "excluded networks"},
                          {intent.never.size(), kMaxNever, "never-captured endpoints"},
                          {intent.own_probes.size(), kMaxOwnProbes, "probes of own services"},
                          {intent.exempt_uids.size(), kMaxOwners, "exempt users"},
                          {intent.exempt_gids.size(), kMaxOwners, "exempt groups"},
                          {intent.exempt_cgroups.size(), kMaxCgroups, "exempt cgroups"},
                          {intent.exempt_marks.size(), kMaxOwners, "exempt marks"},
                          {intent.groups_include.size(), kMaxOwners, "included groups"},
                          {intent.groups_exclude.size(), kMaxOwners, "excluded groups"},
                          {intent.user_ports.size(), kMaxUserPorts, "users' ports"},
                          {intent.exclude_interfaces.size(), kMaxInterfaces, "excluded interfaces"},
                          {intent.dns.resolvers.size(), kMaxResolvers, "resolvers"}};
  for (const Count& item : counts)
    if (auto s = check_count(item.count, item.limit, item.what); !s) return s;
  return {};
}

Status check_ports(const Intent& intent) {
  if (auto s = check_port(intent.outbound_port, "outbound port"); !s) return s;
  if (auto s = check_port(intent.inbound_port, "inbound port"); !s) return s;
  std::vector<std::uint32_t> ports{intent.outbound_port, intent.inbound_port};
  if (intent.hbone_port != 0) {
    if (auto s = check_port(intent.hbone_port, "HBONE port"); !s) return s;
    ports.push_back(intent.hbone_port);
  }
  if (intent.dns.capture != Dns::Capture::kOff) {
    if (auto s = check_port(intent.dns.port, "DNS port"); !s) return s;
    ports.push_back(intent.dns.port);
  }
  std::sort(ports.begin(), ports.end());
  const auto twice = std::adjacent_find(ports.begin(), ports.end());
  if (twice == ports.end()) return {};
  return bad("HWS-NF-006", "two of the proxy's and the agent's ports are " + std::to_string(*twice),
             "use different ports for outbound, inbound, HBONE and DNS");
}

Status check_ranges(const std::vector<IdRange>& ranges) {
  for (const IdRange& range : ranges)
    if (range.first > range.last)
      return bad("HWS-NF-036", "range of users " + to_string(range) + " is inverted", "write the lower number first");
  return {};
}

Status check_owner(const Owner& owner) {
  if (auto s = check_ranges(owner.uids); !s) return s;
  for (const std::string& cgroup : owner.cgroups)
    if (auto s = check_cgroup(cgroup); !s) return s;
  for (const Mark& mark : owner.marks)
    if (auto s = check_mark(mark); !s) return s;
  return {};
}

Status check_owners(const Intent& intent) {
  if (intent.exempt_uids.empty())
    return bad("HWS-NF-004", "no user is exempt, so the proxy's own traffic would loop",
               "exempt the proxy's and the agent's uid");
  if (auto s = check_owner({intent.exempt_uids, {}, intent.exempt_cgroups, intent.exempt_marks}); !s) return s;
  for (const Owner* owner : {&intent.proxy, &intent.dns.agent, &intent.dns.host_resolver})
    if (auto s = check_owner(*owner); !s) return s;
  for (const std::uint32_t gid : intent.groups_exclude)
    if (std::find(intent.groups_include.begin(), intent.groups_include.end(), gid) != intent.groups_include.end())
      return bad("HWS-NF-034", "group " + std::to_string(gid) + " is included and excluded", "keep one");
  for (const UserPorts& item : intent.user_ports) {
    if (item.uids.empty() || item.protocol == Protocol::kNotTcp)
      return bad("HWS-NF-034", "ports are excluded for nobody, or for no protocol", "name users, and tcp or udp");
    if (auto s = check_ranges(item.uids); !s) return s;
  }
  return {};
}

}  // namespace

Status check_interface(const std::string& name) {
  const bool wildcard = !name.empty() && name.back() == '*';
  const std::string stem = wildcard ? name.substr(0, name.size() - 1) : name;
  const char* hint = "write a name of at most 15 characters like eth1, or the beginning of some, like docker*";
  if (stem.size() >= IFNAMSIZ) return bad("HWS-NF-030", "interface name \"" + name + "\" is too long", hint);
  const bool valid = !stem.empty() && stem.back() != '+' && std::all_of(stem.begin(), stem.end(), [](char c) {
    return plain(c) && c != '/' && c != ':' && c != '*';
  });
  if (valid) return {};
  return bad("HWS-NF-030", "\"" + name + "\" is no interface name", hint);
}

Status check_cgroup(const std::string& path) {
  const bool valid = !path.empty() && path.size() <= kMaxCgroupPath && path.front() != '/' && path.back() != '/' &&
                     path.find("..") == std::string::npos && path.find("//") == std::string::npos &&
                     std::all_of(path.begin(), path.end(), plain);
  if (valid) return {};
  return bad("HWS-NF-031", "\"" + path + "\" is no path of a cgroup",
             "write it as systemd-cgls does, without the leading slash: system.slice/app.service");
}

Status check_mark(const Mark& mark) {
  if (mark.value == 0)
    return bad("HWS-NF-032", "mark 0 is what packets without a mark have", "name a mark that somebody sets");
  if ((mark.value & ~mark.mask) == 0) return {};
  return bad("HWS-NF-032", "mark " + hex(mark.value) + " has bits that mask " + hex(mark.mask) + " lacks",
             "write mark/mask like 0x100/0xf00");
}

Status check_tproxy(const Tproxy& tproxy) {
  const auto fits = [&tproxy](std::uint32_t mark) { return mark != 0 && (mark & ~tproxy.mask) == 0; };
  if (!fits(tproxy.mark) || !fits(tproxy.mark + 1))
    return bad("HWS-NF-032",
               "TPROXY's mark " + hex(tproxy.mark) + ", or the one after it, doesn't fit in mask " + hex(tproxy.mask),
               "use a mark and a mask like 0x539 and 0xffffffff");
  constexpr std::uint32_t kDefault = 253;  // linux/rtnetlink.h: default, main, local
  if (tproxy.table == 0 || (tproxy.table >= kDefault && tproxy.table <= kDefault + 2))
    return bad("HWS-NF-033", "routing table " + std::to_string(tproxy.table) + " is the system's own",
               "use another, like 133");
  return {};
}

Status check(const Intent& intent) {
  if ((!intent.capture_outbound && !intent.capture_inbound) || (!intent.ipv4 && !intent.ipv6))
    return bad("HWS-NF-005", "nothing would be intercepted",
               "capture at least one direction in one IP family, or remove the interception");
  if (auto s = check_counts(intent); !s) return s;
  if (auto s = check_owners(intent); !s) return s;
  if (auto s = check_ports(intent); !s) return s;
  for (const std::string& name : intent.exclude_interfaces)
    if (auto s = check_interface(name); !s) return s;
  for (const Service& service : intent.services)
    if (service.ports.empty())
      return bad("HWS-NF-035", "service '" + service.name + "' has no ports", "name the ports on which it listens");
  return intent.inbound_mode == InboundMode::kTproxy ? check_tproxy(intent.tproxy) : Status{};
}

}  // namespace hawser::netfilter
