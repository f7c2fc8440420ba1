// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "config/load.h"
#include "config/schema_parts.h"
#include "config/schema_value.h"
#include "netfilter/address.h"
#include "netfilter/plan_check.h"

namespace hawser::config {
namespace {

using netfilter::Cidr;

// Of one list; the broker's frames and the kernel's sets take that many.
constexpr std::size_t kMaxCidrs = 16384;
constexpr std::size_t kMaxPorts = 1024;
constexpr std::size_t kMaxNames = 256;
constexpr std::size_t kMaxFew = 64;

Status room(std::size_t count, std::size_t limit) {
  if (count < limit) return {};
  return bad("has more than " + std::to_string(limit) + " entries", "summarise them in fewer, larger ranges");
}

template <typename T>
Status push(std::vector<T>& out, T value, const std::string& text, std::size_t limit) {
  if (std::find(out.begin(), out.end(), value) != out.end())
    return bad("'" + text + "' is there already", "leave one out");
  if (auto left = room(out.size(), limit); !left) return left;
  out.push_back(std::move(value));
  return {};
}

bool same(const PortRange& a, const PortRange& b) {
  return a.first == b.first && a.last == b.last;
}

bool has_range(const std::vector<PortRange>& ranges, const PortRange& range) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const PortRange& other) { return same(other, range); });
}

// A list replaces what an earlier file said; the keyword "all" stands for an empty one. What `contrary` has too would
// be included and excluded at once.
struct PortList {
  bool all_allowed = false;
  const std::vector<PortRange>* contrary = nullptr;
};

Status read_port(const std::string& text, std::vector<PortRange>& out, const PortList& list) {
  if (list.all_allowed && text == "all") return {};
  auto range = parse_port_range(text);
  if (!range) return range.error();
  if (has_range(out, *range)) return bad("'" + text + "' is there already", "leave one out");
  if (list.contrary != nullptr && has_range(*list.contrary, *range))
    return bad("'" + text + "' is included and excluded", "keep one");
  if (auto left = room(out.size(), kMaxPorts); !left) return left;
  out.push_back(*range);
  return {};
}

void port_list(MapReader& map, const std::string& key, std::vector<PortRange>& out, const PortList& list) {
  if (map.has(key)) out.clear();
  map.list(key, [&out, &list](const std::string& text) { return read_port(text, out, list); });
}

// Thousands of networks are no rarity, so what was seen is a sorted set.
class CidrList {
 public:
  CidrList(std::vector<std::string>& out, const std::vector<std::string>* contrary) : out_(out) {
    out_.clear();
    if (contrary == nullptr) return;
    for (const std::string& text : *contrary) contrary_.insert(key(netfilter::parse_cidr(text).value()));
  }
  Status add(const std::string& text) {
    if (auto ok = check_cidr(text); !ok) return ok;
    const std::string normal = key(netfilter::parse_cidr(text).value());
    if (!seen_.insert(normal).second) return bad("'" + text + "' is there already", "leave one out");
    if (contrary_.count(normal) != 0) return bad("'" + text + "' is included and excluded", "keep one");
    if (auto left = room(out_.size(), kMaxCidrs); !left) return left;
    out_.push_back(text);
    return {};
  }

 private:
  static std::string key(const Cidr& cidr) { return cidr.text(); }
  std::vector<std::string>& out_;
  std::set<std::string> seen_;
  std::set<std::string> contrary_;
};

void cidr_list(MapReader& map, const std::string& key, std::vector<std::string>& out,
               const std::vector<std::string>* contrary, bool all_allowed) {
  if (!map.has(key)) return map.list(key, [](const std::string&) { return Status{}; });
  CidrList list(out, contrary);
  map.list(key,
           [&](const std::string& text) -> Status { return all_allowed && text == "all" ? Status{} : list.add(text); });
}

void number_list(MapReader& map, const std::string& key, std::vector<std::uint32_t>& out,
                 Result<unsigned> (*resolve)(const std::string&),
                 const std::vector<std::uint32_t>* contrary = nullptr) {
  if (map.has(key)) out.clear();
  map.list(key, [&out, resolve, contrary](const std::string& name) -> Status {
    auto id = resolve(name);
    if (!id)
      return Error(id.error().code(), id.error().id(), id.error().message(),
                   "create it, or write another name or number");
    if (contrary != nullptr && std::find(contrary->begin(), contrary->end(), *id) != contrary->end())
      return bad("'" + name + "' is included and excluded", "keep one");
    return push(out, static_cast<std::uint32_t>(*id), name, kMaxNames);
  });
}

// Names, numbers, and ranges of numbers.
void user_list(MapReader& map, const std::string& key, std::vector<netfilter::IdRange>& out) {
  if (map.has(key)) out.clear();
  map.list(key, [&out](const std::string& text) -> Status {
    auto range = parse_user_range(text);
    if (range) return push(out, *range, text, kMaxNames);
    if (range.error().code() != Code::kNotFound) return range.error();
    return Error(Code::kNotFound, range.error().id(), range.error().message(),
                 "create it, or write another name, a number, or a range like 4001-4010");
  });
}

void checked_list(MapReader& map, const std::string& key, std::vector<std::string>& out,
                  Status (*check)(const std::string&)) {
  if (map.has(key)) out.clear();
  map.list(key, [&out, check](const std::string& text) -> Status {
    if (auto ok = check(text); !ok) return ok;
    return push(out, text, text, kMaxFew);
  });
}

void read_tproxy(MapReader& map, netfilter::Tproxy& out) {
  map.scalar("mark", [&out](const std::string& text) -> Status {
    auto mark = parse_mark(text);
    if (!mark) return mark.error();
    out.mark = mark->value;
    out.mask = mark->mask;
    return {};
  });
  map.scalar("table", number(out.table, 1, 0xffffffff));
  if (auto ok = netfilter::check_tproxy(out); !ok)
    map.fail(ok.error().id() == "HWS-NF-033" ? "table" : "mark", ok.error());
}

void read_service(MapReader& map, std::vector<netfilter::Service>& out) {
  netfilter::Service service;
  map.text("name", service.name);
  std::vector<PortRange> ports;
  port_list(map, "ports", ports, {});
  for (const PortRange& range : ports) service.ports.push_back({range.first, range.last});
  if (service.name.empty()) map.fail("name", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
  if (service.ports.empty()) map.fail("ports", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
  const auto twin = [&service](const netfilter::Service& other) { return other.name == service.name; };
  if (std::any_of(out.begin(), out.end(), twin)) map.fail("name", bad("'" + service.name + "' is there already"));
  if (auto left = room(out.size(), kMaxFew); !left) return map.fail("name", left.error());
  out.push_back(std::move(service));
}

void read_inbound(MapReader& map, Interception& out) {
  map.scalar("enabled", boolean(out.inbound));
  map.scalar("mode", choice({"redirect", "tproxy"},
                            [&out](std::size_t i) { out.mode = static_cast<netfilter::InboundMode>(i); }));
  map.map("tproxy", [&out](MapReader& tproxy) { read_tproxy(tproxy, out.tproxy); });
  port_list(map, "ports", out.inbound_ports, {true, map.has("exclude") ? nullptr : &out.inbound_exclude});
  port_list(map, "exclude", out.inbound_exclude, {false, &out.inbound_ports});
  if (map.has("services")) out.services.clear();
  map.each_map("services", [&out](MapReader& service) { read_service(service, out.services); });
  if (map.has("services") && map.has("ports") && out.inbound_ports.empty() && !out.services.empty())
    map.fail("services", bad("name ports, and interception.inbound.ports says all", "keep one"));
}

void read_outbound(MapReader& map, Interception& out) {
  map.scalar("enabled", boolean(out.outbound));
  port_list(map, "ports", out.outbound_ports, {true, map.has("exclude_ports") ? nullptr : &out.outbound_exclude_ports});
  port_list(map, "exclude_ports", out.outbound_exclude_ports, {false, &out.outbound_ports});
  cidr_list(map, "cidrs", out.outbound_cidrs, map.has("exclude_cidrs") ? nullptr : &out.outbound_exclude_cidrs, true);
  cidr_list(map, "exclude_cidrs", out.outbound_exclude_cidrs, &out.outbound_cidrs, false);
}

void read_exempt(MapReader& map, netfilter::Owner& out) {
  user_list(map, "users", out.uids);
  number_list(map, "groups", out.gids, resolve_group);
  checked_list(map, "cgroups", out.cgroups, netfilter::check_cgroup);
  if (map.has("marks")) out.marks.clear();
  map.list("marks", [&out](const std::string& text) -> Status {
    auto mark = parse_mark(text);
    if (!mark) return mark.error();
    if (auto ok = netfilter::check_mark(*mark); !ok) return ok;
    return push(out.marks, *mark, text, kMaxFew);
  });
}

void read_user_ports(MapReader& map, std::vector<netfilter::UserPorts>& out) {
  netfilter::UserPorts item;
  user_list(map, "users", item.uids);
  std::vector<PortRange> ports;
  port_list(map, "ports", ports, {true, nullptr});
  for (const PortRange& range : ports) item.ports.push_back({range.first, range.last});
  using netfilter::Protocol;
  map.scalar("protocol", choice({"tcp", "udp", "any"}, [&item](std::size_t i) {
               item.protocol = i == 0 ? Protocol::kTcp : i == 1 ? Protocol::kUdp : Protocol::kAny;
             }));
  if (!map.has("users")) map.fail("users", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
  if (auto left = room(out.size(), kMaxFew); !left) return map.fail("users", left.error());
  if (std::find(out.begin(), out.end(), item) != out.end()) map.fail("users", bad("these ports are there already"));
  out.push_back(std::move(item));
}

void read_dns(MapReader& map, Interception& out) {
  map.scalar("capture", choice({"off", "resolvers", "all"},
                               [&out](std::size_t i) { out.dns = static_cast<netfilter::Dns::Capture>(i); }));
  map.scalar("port", set<std::uint16_t>(out.dns_port, parse_port));
  checked_list(map, "resolvers", out.dns_resolvers, check_address);
}

void read_on_failure(MapReader& map, OnFailure& out) {
  map.scalar("inbound", choice({"closed", "open"}, [&out](std::size_t i) { out.inbound_closed = i == 0; }));
  map.scalar("outbound", choice({"closed", "open"}, [&out](std::size_t i) { out.outbound_closed = i == 0; }));
  map.scalar("max_open", seconds(out.max_open));
}

}  // namespace

void read_interception(MapReader& map, Interception& out) {
  map.map("inbound", [&out](MapReader& inbound) { read_inbound(inbound, out); });
  map.map("outbound", [&out](MapReader& outbound) { read_outbound(outbound, out); });
  map.map("exempt", [&out](MapReader& exempt) { read_exempt(exempt, out.exempt); });
  map.map("groups", [&out](MapReader& groups) {
    number_list(groups, "include", out.groups_include, resolve_group,
                groups.has("exclude") ? nullptr : &out.groups_exclude);
    number_list(groups, "exclude", out.groups_exclude, resolve_group, &out.groups_include);
  });
  if (map.has("user_ports")) out.user_ports.clear();
  map.each_map("user_ports", [&out](MapReader& item) { read_user_ports(item, out.user_ports); });
  checked_list(map, "exclude_interfaces", out.exclude_interfaces, netfilter::check_interface);
  map.scalar("self_call", boolean(out.self_call));
  map.scalar("hbone_port", number(out.hbone_port, 0, 65535));
  map.scalar("drop_invalid", boolean(out.drop_invalid));
  map.map("dns", [&out](MapReader& dns) { read_dns(dns, out); });
  map.map("on_failure", [&out](MapReader& failure) { read_on_failure(failure, out.on_failure); });
  map.scalar("confirm", seconds(out.confirm));
  for (const unsigned port : {15001U, 15006U})
    if (out.hbone_port == port) map.fail("hbone_port", bad(std::to_string(port) + " is the proxy's own"));
  if (out.dns != netfilter::Dns::Capture::kOff && out.dns_port == out.hbone_port)
    map.fail("hbone_port", bad("is interception.dns.port too", "use two ports"));
}

}  // namespace hawser::config
