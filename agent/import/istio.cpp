// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "import/settings.h"

namespace hawser::import {
namespace {

const std::vector<Name>& istio_names() {
  static const std::vector<Name> all = {
      {"envoy-port", 'p', false, ""},
      {"inbound-capture-port", 'z', false, "INBOUND_CAPTURE_PORT"},
      {"inbound-tunnel-port", 'e', false, "INBOUND_TUNNEL_PORT"},
      {"proxy-uid", 'u', false, "PROXY_UID"},
      {"proxy-gid", 'g', false, "PROXY_GID"},
      {"istio-inbound-interception-mode", 'm', false, "ISTIO_INBOUND_INTERCEPTION_MODE", "INBOUND_INTERCEPTION_MODE"},
      {"istio-inbound-tproxy-mark", 't', false, "ISTIO_INBOUND_TPROXY_MARK", "INBOUND_TPROXY_MARK"},
      {"istio-inbound-tproxy-route-table", 'r', false, "ISTIO_INBOUND_TPROXY_ROUTE_TABLE"},
      {"istio-inbound-ports", 'b', false, "ISTIO_INBOUND_PORTS"},
      {"istio-local-exclude-ports", 'd', false, "ISTIO_LOCAL_EXCLUDE_PORTS"},
      {"istio-exclude-interfaces", 'c', false, "ISTIO_EXCLUDE_INTERFACES"},
      {"istio-service-cidr", 'i', false, "ISTIO_SERVICE_CIDR"},
      {"istio-service-exclude-cidr", 'x', false, "ISTIO_SERVICE_EXCLUDE_CIDR"},
      {"istio-outbound-ports", 'q', false, "ISTIO_OUTBOUND_PORTS"},
      {"istio-local-outbound-ports-exclude", 'o', false, "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"},
      {"kube-virt-interfaces", 'k', false, "KUBE_VIRT_INTERFACES"},
      {"redirect-dns", 0, true, "REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"},
      {"capture-all-dns", 0, true, "CAPTURE_ALL_DNS"},
      {"drop-invalid", 0, true, "DROP_INVALID", "INVALID_DROP"},
      {"dual-stack", 0, true, "DUAL_STACK", "ISTIO_DUAL_STACK"},
      {"owner-groups", 0, false, "ISTIO_OUTBOUND_OWNER_GROUPS"},
      {"owner-groups-exclude", 0, false, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"},
      {"loopback-cidr", 0, false, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"},
      {"dns-proxy-addr", 0, false, "DNS_PROXY_ADDR"},
      {"inbound-exclude-ports", 0, false, "ISTIO_INBOUND_EXCLUDE_PORTS"},
      {"custom-ip-tables", 0, true, "ISTIO_CUSTOM_IP_TABLES"},
      {"envoy-user", 0, false, "ENVOY_USER"},
      {"dry-run", 'n', true, "DRY_RUN"},
      {"iptables-probe-port", 0, false, "IPTABLES_PROBE_PORT"},
      {"probe-timeout", 0, false, "PROBE_TIMEOUT"},
      {"skip-rule-apply", 0, true, "SKIP_RULE_APPLY"},
      {"run-validation", 0, true, "RUN_VALIDATION"},
      {"network-namespace", 0, false, "NETWORK_NAMESPACE"},
      {"cni-mode", 0, true, "CNI_MODE"},
      {"reconcile", 0, true, "RECONCILE"},
      {"cleanup-only", 0, true, "CLEANUP_ONLY"},
      {"force-apply", 0, true, "FORCE_APPLY"},
      {"native-nftables", 0, true, "NATIVE_NFTABLES"},
      {"force-iptables-binary", 0, false, "FORCE_IPTABLES_BINARY"},
      {"iptables-trace-logging", 0, true, "IPTABLES_TRACE_LOGGING"},
  };
  return all;
}

struct Remark {
  const char* key;
  const char* words;
};

// What says how the tool works, and not what is captured.
constexpr Remark kOtherwise[] = {
    {"dry-run", "'hawser intercept plan' shows the rules"},
    {"iptables-probe-port", "Hawser's probe has a port of its own, 15009"},
    {"probe-timeout", "Hawser's probe has a time-out of its own"},
    {"skip-rule-apply", "leave interception disabled instead"},
    {"run-validation", "Hawser always probes what it applied"},
    {"network-namespace", "start the agent in that namespace"},
    {"cni-mode", "Hawser isn't for pods"},
    {"reconcile", "Hawser always replaces its rules in one step"},
    {"cleanup-only", "'hawser intercept remove' does that"},
    {"force-apply", "the same plan isn't applied twice"},
    {"native-nftables", "Hawser takes nftables wherever the kernel has it"},
    {"force-iptables-binary", "the kernel is asked what it can, and no program is run"},
    {"iptables-trace-logging", "it had no effect in Istio either; counters are in 'hawser intercept status'"},
    {"dual-stack", "a family is captured where the proxy listens in it"},
    {"envoy-user", "users.proxy is the proxy's user"},
};

void say_ports(const Values& values, std::vector<std::string>& warnings) {
  if (values.text("envoy-port", "15001") != "15001")
    warnings.push_back(values.place("envoy-port") + ": Hawser's proxy listens on 15001; left out");
  if (values.text("inbound-capture-port", "15006") != "15006")
    warnings.push_back(values.place("inbound-capture-port") + ": Hawser's proxy listens on 15006; left out");
}

void say_stale(const Values& values, const Settings& settings, std::vector<std::string>& warnings) {
  if (values.has("inbound-exclude-ports"))
    warnings.push_back(values.place("inbound-exclude-ports") +
                       ": ISTIO_INBOUND_EXCLUDE_PORTS was never read by Istio, whatever sidecar.env says: these ports "
                       "were captured. Left out; if they shouldn't be, write them to interception.inbound.exclude");
  const auto& out = settings.inbound_exclude;
  if (settings.inbound && settings.inbound_ports.empty() && std::find(out.begin(), out.end(), "22") == out.end())
    warnings.push_back(
        "port 22 was captured by Istio, although sidecar.env says that it is excluded; Hawser never captures SSH");
  const std::string loopback = values.text("loopback-cidr", "127.0.0.1/32");
  if (loopback != "127.0.0.1/32")
    warnings.push_back(values.place("loopback-cidr") + ": Hawser leaves all that programs send through lo alone");
  if (values.yes("custom-ip-tables"))
    warnings.push_back(values.place("custom-ip-tables") +
                       ": Istio left the rules to somebody else, who still has to take them out");
  const bool many = settings.exempt_users.size() > 1 || values.has("proxy-gid");
  if (many)
    warnings.push_back(values.place("proxy-gid") +
                       ": of Istio's rules for several users and for groups, those for calls to this host's own "
                       "addresses never matched; Hawser exempts all of them");
  for (const auto& [name, value] : values.others())
    warnings.push_back(value.place + ": " + name + " says nothing about interception; left out");
  for (const Remark& remark : kOtherwise) {
    const std::string text = values.text(remark.key);
    if (!text.empty() && text != "false" && text != "0")
      warnings.push_back(values.place(remark.key) + ": " + remark.words + "; left out");
  }
}

Status read_dns(const Values& values, Settings& out, std::vector<std::string>& warnings) {
  if (values.yes("redirect-dns")) {
    out.dns = values.yes("capture-all-dns") ? "all" : "resolvers";
  } else if (values.yes("capture-all-dns")) {
    warnings.push_back(values.place("capture-all-dns") + ": had no effect without --redirect-dns; left out");
  }
  const std::string at = values.text("dns-proxy-addr");
  if (at.empty()) return {};
  const auto colon = at.rfind(':');
  Input port;
  port.arguments = {"--port=" + at.substr(colon == std::string::npos ? 0 : colon + 1)};
  auto read = Values::read({{"port", 0, false, ""}}, port);
  if (!read) return read.error();
  if (!read_port(*read, "port", out.dns_port))
    return Error(Code::kInvalidArgument, "HWS-IM-003", values.place("dns-proxy-addr") + ": '" + at + "' has no port",
                 "correct it, or leave it out");
  return {};
}

Status read_groups(const Values& values, Settings& out) {
  const std::string included = values.text("owner-groups", "*");
  if (included != "*")
    if (auto s = read_list(values, "owner-groups", Kind::kOwner, out.groups_include); !s) return s;
  if (auto s = read_list(values, "owner-groups-exclude", Kind::kOwner, out.groups_exclude); !s) return s;
  if (out.groups_include.empty() || out.groups_exclude.empty()) return {};
  return Error(Code::kInvalidArgument, "HWS-IM-003",
               values.place("owner-groups-exclude") + ": Istio took excluded groups only where all are included",
               "keep one of the two");
}

// Two of our own ports mustn't be one; Istio didn't look.
Status check_ports(const Settings& in) {
  for (const unsigned port : {15001U, 15006U, in.dns.empty() ? 0U : in.dns_port == 0 ? 15053U : in.dns_port})
    if (port != 0 && in.hbone_port == port)
      return Error(Code::kInvalidArgument, "HWS-IM-003",
                   "inbound-tunnel-port: " + std::to_string(port) + " is another port of the proxy or the agent",
                   "use different ports");
  return {};
}

}  // namespace

Result<Imported> import_istio(const Input& input) {
  const auto values = Values::read(istio_names(), input);
  if (!values) return values.error();
  Imported out;
  Settings settings;
  settings.hbone_port = 15008;
  if (auto s = read_common(*values, settings, out.warnings); !s) return s.error();
  if (auto s = read_port(*values, "inbound-tunnel-port", settings.hbone_port); !s) return s.error();
  if (auto s = read_groups(*values, settings); !s) return s.error();
  if (auto s = read_dns(*values, settings, out.warnings); !s) return s.error();
  if (auto s = check_ports(settings); !s) return s.error();
  settings.drop_invalid = values->yes("drop-invalid");
  for (const std::string& word : values->words()) out.warnings.push_back("'" + word + "' is no flag; left out");
  say_ports(*values, out.warnings);
  say_stale(*values, settings, out.warnings);
  if (!settings.inbound && !settings.outbound)
    out.warnings.emplace_back("nothing is captured: Istio captures no direction for which no port or network is named");
  out.yaml = to_yaml(settings, "pilot-agent istio-iptables");
  return out;
}

}  // namespace hawser::import
