// SPDX-License-Identifier: Apache-2.0
#include "import/settings.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

#include "config/value.h"
#include "netfilter/address.h"
#include "netfilter/plan_check.h"

namespace hawser::import {
namespace {

Error bad(const Values& values, const std::string& key, const std::string& why) {
  Error error(Code::kInvalidArgument, "HWS-IM-003", values.place(key) + ": " + why, "correct it, or leave it out");
  return error;
}

bool is_number(const std::string& text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 32 && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                  c == '.';
         });
}

// What is equal for the configuration has to look equal, too: 080 is 80, and 10.1.2.3/8 is 10.0.0.0/8.
Result<std::string> normal(const std::string& text, Kind kind) {
  switch (kind) {
    case Kind::kPort: {
      auto range = config::parse_port_range(text);
      if (!range) return range.error();
      const std::string first = std::to_string(range->first);
      return range->first == range->last ? first : first + "-" + std::to_string(range->last);
    }
    case Kind::kCidr: {
      auto cidr = netfilter::parse_cidr(text);
      if (!cidr) return cidr.error();
      return cidr->text();
    }
    case Kind::kInterface: {
      std::string name = text;
      if (!name.empty() && name.back() == '+') name.back() = '*';  // as iptables writes it
      if (auto ok = netfilter::check_interface(name); !ok) return ok.error();
      return name;
    }
    case Kind::kUid:
    case Kind::kOwner:
      break;
  }
  if (is_number(text)) {
    const auto digits = text.find_first_not_of('0');
    return digits == std::string::npos ? std::string("0") : text.substr(digits);
  }
  if (kind == Kind::kOwner && is_name(text)) return text;
  return Error(Code::kInvalidArgument, "HWS-IM-003", "'" + text + "' is no user or group");
}

std::size_t limit(Kind kind) {
  switch (kind) {
    case Kind::kPort:
      return 1024;
    case Kind::kCidr:
      return 16384;
    case Kind::kInterface:
      return 64;
    case Kind::kUid:
    case Kind::kOwner:
      return 256;
  }
  return 0;
}

void without(std::vector<std::string>& from, const std::vector<std::string>& those) {
  from.erase(std::remove_if(
                 from.begin(), from.end(),
                 [&](const std::string& text) { return std::find(those.begin(), those.end(), text) != those.end(); }),
             from.end());
}

Status read_inbound(const Values& values, Settings& out, std::vector<std::string>& warnings) {
  const std::string ports = values.text("istio-inbound-ports");
  out.inbound = !ports.empty();
  if (ports != "*") {
    if (auto s = read_list(values, "istio-inbound-ports", Kind::kPort, out.inbound_ports); !s) return s;
    if (!values.text("istio-local-exclude-ports").empty())
      warnings.push_back(values.place("istio-local-exclude-ports") +
                         ": was only looked at where all inbound ports were captured; left out");
    return {};
  }
  return read_list(values, "istio-local-exclude-ports", Kind::kPort, out.inbound_exclude);
}

Status read_outbound(const Values& values, Settings& out) {
  const std::string networks = values.text("istio-service-cidr");
  if (auto s = read_list(values, "istio-outbound-ports", Kind::kPort, out.outbound_ports); !s) return s;
  if (networks != "*")
    if (auto s = read_list(values, "istio-service-cidr", Kind::kCidr, out.outbound_cidrs); !s) return s;
  if (auto s = read_list(values, "istio-service-exclude-cidr", Kind::kCidr, out.outbound_exclude_cidrs); !s) return s;
  if (auto s = read_list(values, "istio-local-outbound-ports-exclude", Kind::kPort, out.outbound_exclude_ports); !s)
    return s;
  // What was excluded won; our configuration wants to be told once.
  without(out.outbound_ports, out.outbound_exclude_ports);
  without(out.outbound_cidrs, out.outbound_exclude_cidrs);
  if (networks == "*") out.outbound_ports.clear();
  out.outbound = networks == "*" || !out.outbound_cidrs.empty() || !out.outbound_ports.empty();
  return {};
}

// Ports and numbers stay numbers; all else is quoted, and has nothing in it that would need more.
std::string list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (std::size_t i = 0; i < items.size(); ++i) out += (i == 0 ? "\"" : ", \"") + items[i] + "\"";
  return out + "]";
}

void line(std::string& out, int depth, const std::string& key, const std::vector<std::string>& items) {
  if (!items.empty()) out += std::string(static_cast<std::size_t>(depth) * 2, ' ') + key + ": " + list(items) + "\n";
}

}  // namespace

Status read_list(const Values& values, const std::string& key, Kind kind, std::vector<std::string>& out) {
  std::set<std::string> seen;
  std::istringstream items(values.text(key));
  std::string item;
  while (std::getline(items, item, ',')) {
    const auto first = item.find_first_not_of(' ');
    if (first == std::string::npos) continue;
    item = item.substr(first, item.find_last_not_of(' ') - first + 1);
    auto text = normal(item, kind);
    if (!text) return bad(values, key, text.error().message());
    if (!seen.insert(*text).second) continue;
    if (out.size() == limit(kind))
      return Error(Code::kResourceExhausted, "HWS-IM-005",
                   values.place(key) + ": more than " + std::to_string(limit(kind)) + " entries",
                   "summarise them in fewer, larger ranges");
    out.push_back(std::move(*text));
  }
  return {};
}

Status read_port(const Values& values, const std::string& key, unsigned& out) {
  if (values.text(key).empty()) return {};
  auto port = config::parse_port(values.text(key));
  if (!port) return bad(values, key, port.error().message());
  out = *port;
  return {};
}

Status read_common(const Values& values, Settings& out, std::vector<std::string>& warnings) {
  if (auto s = read_inbound(values, out, warnings); !s) return s;
  if (auto s = read_outbound(values, out); !s) return s;
  if (auto s = read_list(values, "istio-exclude-interfaces", Kind::kInterface, out.exclude_interfaces); !s) return s;
  if (auto s = read_list(values, "proxy-uid", Kind::kOwner, out.exempt_users); !s) return s;
  if (auto s = read_list(values, "proxy-gid", Kind::kOwner, out.exempt_groups); !s) return s;
  const std::string mode = values.text("istio-inbound-interception-mode");
  if (mode != "" && mode != "REDIRECT" && mode != "TPROXY" && mode != "NONE")
    return bad(values, "istio-inbound-interception-mode", "'" + mode + "' is not REDIRECT or TPROXY");
  out.tproxy = mode == "TPROXY";
  if (mode == "NONE") out.inbound = false;
  if (const std::string mark = values.text("istio-inbound-tproxy-mark"); !mark.empty()) {
    auto read = config::parse_mark(mark);
    if (!read || read->mask != 0xffffffff || !netfilter::check_tproxy({read->value, read->mask, 133}))
      return bad(values, "istio-inbound-tproxy-mark", "'" + mark + "' is no mark of ours");
    if (read->value != 1337) out.tproxy_mark = std::to_string(read->value);
  }
  if (const std::string table = values.text("istio-inbound-tproxy-route-table"); !table.empty() && table != "133") {
    auto read = normal(table, Kind::kUid);
    if (!read || !netfilter::check_tproxy({1337, 0xffffffff, static_cast<std::uint32_t>(std::stoul(*read))}))
      return bad(values, "istio-inbound-tproxy-route-table", "'" + table + "' is no routing table of ours");
    out.tproxy_table = *read;
  }
  if (!values.text("kube-virt-interfaces").empty())
    warnings.push_back(values.place("kube-virt-interfaces") +
                       ": traffic of virtual machines and containers behind this host isn't captured; left out");
  if (std::find(out.exempt_users.begin(), out.exempt_users.end(), "0") != out.exempt_users.end())
    warnings.push_back(values.place("proxy-uid") + ": what root sends isn't captured then, as before");
  return {};
}

std::string to_yaml(const Settings& in, const std::string& origin) {
  std::string out =
      "# Imported from " + origin + ". The agent's and the proxy's own users are exempt anyway (users.*).\n";
  out += std::string("interception:\n  inbound:\n    enabled: ") + (in.inbound ? "true" : "false") + "\n";
  if (in.tproxy) out += "    mode: tproxy\n";
  if (in.tproxy && (!in.tproxy_mark.empty() || !in.tproxy_table.empty())) out += "    tproxy:\n";
  if (in.tproxy && !in.tproxy_mark.empty()) out += "      mark: " + in.tproxy_mark + "\n";
  if (in.tproxy && !in.tproxy_table.empty()) out += "      table: " + in.tproxy_table + "\n";
  line(out, 2, "ports", in.inbound_ports);
  line(out, 2, "exclude", in.inbound_exclude);
  out += std::string("  outbound:\n    enabled: ") + (in.outbound ? "true" : "false") + "\n";
  line(out, 2, "ports", in.outbound_ports);
  line(out, 2, "cidrs", in.outbound_cidrs);
  line(out, 2, "exclude_ports", in.outbound_exclude_ports);
  line(out, 2, "exclude_cidrs", in.outbound_exclude_cidrs);
  if (!in.exempt_users.empty() || !in.exempt_groups.empty()) out += "  exempt:\n";
  line(out, 2, "users", in.exempt_users);
  line(out, 2, "groups", in.exempt_groups);
  if (!in.groups_include.empty() || !in.groups_exclude.empty()) out += "  groups:\n";
  line(out, 2, "include", in.groups_include);
  line(out, 2, "exclude", in.groups_exclude);
  line(out, 1, "exclude_interfaces", in.exclude_interfaces);
  out += std::string("  self_call: ") + (in.self_call ? "true" : "false") + "\n";
  if (in.hbone_port != 0) out += "  hbone_port: " + std::to_string(in.hbone_port) + "\n";
  if (in.drop_invalid) out += "  drop_invalid: true\n";
  if (!in.dns.empty()) out += "  dns:\n    capture: " + in.dns + "\n";
  if (!in.dns.empty() && in.dns_port != 0) out += "    port: " + std::to_string(in.dns_port) + "\n";
  return out;
}

}  // namespace hawser::import
