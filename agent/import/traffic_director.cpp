// SPDX-License-Identifier: Apache-2.0
#include "import/settings.h"

namespace hawser::import {
namespace {

const std::vector<Name>& td_names() {
  static const std::vector<Name> all = {
      {"envoy-port", 'p', false, "ENVOY_PORT"},
      {"proxy-uid", 'u', false, ""},
      {"proxy-gid", 'g', false, ""},
      {"istio-inbound-interception-mode", 'm', false, ""},
      {"istio-inbound-ports", 'b', false, "INTERCEPT_INBOUND_PORTS", "BACKEND_INBOUND_PORTS"},
      {"istio-local-exclude-ports", 'd', false, ""},
      {"istio-service-cidr", 'i', false, "SERVICE_CIDR"},
      {"istio-service-exclude-cidr", 'x', false, ""},
      {"kube-virt-interfaces", 'k', false, ""},
      {"help", 'h', true, ""},
      {"envoy-user", 0, false, "ENVOY_USER"},
      {"exclude-envoy-user", 0, true, "EXCLUDE_ENVOY_USER_FROM_INTERCEPT"},
      {"dns-port", 0, false, "ENVOY_DNS_PORT"},
      {"envoy-admin-port", 0, false, "ENVOY_ADMIN_PORT"},
      {"log-dir", 0, false, "LOG_DIR"},
      {"xds-server-cert", 0, false, "XDS_SERVER_CERT"},
  };
  return all;
}

void say(const Values& values, std::vector<std::string>& warnings) {
  if (values.text("envoy-port", "15001") != "15001")
    warnings.push_back(values.place("envoy-port") + ": Hawser's proxy listens on 15001; left out");
  if (values.has("envoy-user"))
    warnings.push_back(values.place("envoy-user") + ": users.proxy is the proxy's user; left out");
  if (values.has("exclude-envoy-user") && !values.yes("exclude-envoy-user"))
    warnings.push_back(values.place("exclude-envoy-user") +
                       ": the proxy is always exempt, since it would call itself without end; left out");
  for (const char* key : {"envoy-admin-port", "log-dir", "xds-server-cert", "help"})
    if (values.has(key)) warnings.push_back(values.place(key) + ": says nothing about interception; left out");
  for (const auto& [name, value] : values.others())
    warnings.push_back(value.place + ": " + name + " says nothing about interception; left out");
  for (const std::string& word : values.words())
    warnings.push_back(word == "clean" ? "'clean': 'hawser intercept remove' does that; left out"
                                       : "'" + word + "' is no flag; left out");
  warnings.emplace_back("IPv6, which the script hardly touched, is captured too where the proxy listens in it");
}

}  // namespace

Result<Imported> import_traffic_director(const Input& input) {
  auto values = Values::read(td_names(), input);
  if (!values) return values.error();
  Imported out;
  Settings settings;
  if (auto s = read_common(*values, settings, out.warnings); !s) return s.error();
  // Its own default, also where it isn't named.
  if (!values->has("istio-service-cidr")) settings.outbound = true;
  settings.self_call = false;  // the script had it off, and its control plane doesn't expect it
  if (values->has("dns-port")) {
    unsigned port = 0;
    if (auto s = read_port(*values, "dns-port", port); !s) return s.error();
    settings.dns = "all";
    out.warnings.push_back(values->place("dns-port") +
                           ": DNS is asked of Hawser's agent, on its port 15053, and over TCP too");
  }
  say(*values, out.warnings);
  out.yaml = to_yaml(settings, "Traffic Director's script");
  return out;
}

}  // namespace hawser::import
