// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/onboarding.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <algorithm>
#include <sstream>

#include "base/fd.h"
#include "base/file.h"
#include "bootstrap/cluster_env.h"
#include "bootstrap/mesh_yaml.h"

namespace hawser::bootstrap {
namespace {

constexpr std::size_t kMaxFile = 1U << 20U;
constexpr const char* kAgain = "make the bundle again with 'istioctl x workload entry configure'";

Error at_line(const std::string& path, int line, std::string id, std::string message, std::string hint = kAgain) {
  Error error(Code::kInvalidArgument, std::move(id), std::move(message), std::move(hint));
  error.at(path + ":" + std::to_string(line));
  return error;
}

Result<std::string> read(const std::string& folder, const std::string& name) {
  auto text = file::read_bounded(folder + "/" + name, kMaxFile);
  if (text) return text;
  return Error(text.error().code(), "HWS-ON-001", text.error().message(),
               "a bundle has root-cert.pem, istio-token, cluster.env, mesh.yaml and hosts; make it again with "
               "'istioctl x workload entry configure'");
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// istioctl writes it with mode 0744, and whoever reads it can enrol as this workload.
void close_token(const std::string& path, Bundle& bundle) {
  // not through a symbolic link: join runs as root, in a folder that others may own
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0 || (info.st_mode & 077U) == 0) return;
  const bool fixed = ::fchmod(fd.get(), 0600) == 0;
  bundle.warnings.push_back(path + " could be read by others; " +
                            (fixed ? "fixed: its mode is 0600 now" : "its mode can't be changed to 0600"));
}

Status check_token(const std::string& token, const std::string& path) {
  if (token.empty()) return at_line(path, 1, "HWS-ON-002", "the token is empty");
  const bool words = token.find_first_of(" \t\r\n") != std::string::npos;
  if (words || std::count(token.begin(), token.end(), '.') != 2)
    return at_line(path, 1, "HWS-ON-002", "this is no token (JWT)");
  return {};
}

Status check_root(const std::string& pem, const std::string& path) {
  const auto begin = pem.find("-----BEGIN CERTIFICATE-----");
  if (begin != std::string::npos && pem.find("-----END CERTIFICATE-----", begin) != std::string::npos) return {};
  return at_line(path, 1, "HWS-ON-003", "no PEM certificate in it",
                 "copy root-cert.pem from the ConfigMap istio-ca-root-cert");
}

bool is_address(const std::string& text) {
  in6_addr any{};
  return inet_pton(AF_INET, text.c_str(), &any) == 1 || inet_pton(AF_INET6, text.c_str(), &any) == 1;
}

// Which addresses does the file give the control plane's name?
Status parse_hosts(const std::string& text, const std::string& path, Bundle& bundle) {
  const std::string plane = bundle.discovery_address.substr(0, bundle.discovery_address.rfind(':'));
  std::istringstream lines(text);
  std::string line;
  bool others = false;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string address;
    std::string name;
    if (!(words >> address)) continue;
    if (!is_address(address))
      return at_line(path, number, "HWS-ON-006", "'" + address + "' is no IP address", "write 'ADDRESS NAME'");
    if (!(words >> name))
      return at_line(path, number, "HWS-ON-006", "'" + address + "' has no name", "write 'ADDRESS NAME'");
    do {
      if (name != plane)
        others = true;
      else if (std::find(bundle.dial.begin(), bundle.dial.end(), address) == bundle.dial.end())
        bundle.dial.push_back(address);
    } while (words >> name);
  }
  if (others && bundle.dial.empty())
    bundle.warnings.push_back(path + " doesn't name " + plane + ", so that it will be looked up in DNS");
  return {};
}

// What the stock agent does with these, Hawser doesn't; leaving them out in silence would capture too much or too
// little.
Status check_possible(const Bundle& bundle, const std::string& path) {
  const auto refuse = [&path](std::string message, std::string hint) {
    Error error(Code::kUnimplemented, "HWS-ON-007", std::move(message), std::move(hint));
    error.at(path);
    return error;
  };
  const auto value = [&bundle](const char* key) {
    const auto found = bundle.env.find(key);
    return found == bundle.env.end() ? std::string() : found->second;
  };
  if (const auto cidr = value("ISTIO_SERVICE_CIDR"); !cidr.empty() && cidr != "*")
    return refuse("ISTIO_SERVICE_CIDR='" + cidr + "': outbound traffic is captured whole or not at all",
                  "set it to '*', and name exceptions in ISTIO_SERVICE_EXCLUDE_CIDR");
  if (const auto mode = value("ISTIO_INBOUND_INTERCEPTION_MODE"); !mode.empty() && mode != "REDIRECT")
    return refuse("ISTIO_INBOUND_INTERCEPTION_MODE='" + mode + "': Hawser intercepts by REDIRECT", "take the line out");
  return {};
}

Status read_texts(const std::string& folder, Bundle& bundle) {
  auto root = read(folder, "root-cert.pem");
  if (!root) return root.error();
  auto token = read(folder, "istio-token");
  if (!token) return token.error();
  bundle.root_pem = std::move(*root);
  bundle.token = trimmed(*token);
  if (auto checked = check_root(bundle.root_pem, folder + "/root-cert.pem"); !checked) return checked;
  return check_token(bundle.token, folder + "/istio-token");
}

Status read_settings(const std::string& folder, Bundle& bundle) {
  auto env = read(folder, "cluster.env");
  if (!env) return env.error();
  auto mesh = read(folder, "mesh.yaml");
  if (!mesh) return mesh.error();
  auto hosts = read(folder, "hosts");
  if (!hosts) return hosts.error();
  auto values = parse_cluster_env(*env, folder + "/cluster.env");
  if (!values) return values.error();
  bundle.env = std::move(*values);
  if (auto possible = check_possible(bundle, folder + "/cluster.env"); !possible) return possible;
  if (const auto ca = bundle.env.find("CA_ADDR"); ca != bundle.env.end()) bundle.ca_address = ca->second;
  if (auto parsed = parse_mesh_yaml(*mesh, folder + "/mesh.yaml", bundle); !parsed) return parsed;
  auto identity = read_bundle_identity(bundle.env, bundle.proxy_metadata, folder + "/cluster.env", bundle.warnings);
  if (!identity) return identity.error();
  bundle.identity = std::move(*identity);
  return parse_hosts(*hosts, folder + "/hosts", bundle);
}

}  // namespace

Result<Bundle> load_bundle(const std::string& folder) {
  Bundle bundle;
  if (auto texts = read_texts(folder, bundle); !texts) return texts.error();
  if (auto settings = read_settings(folder, bundle); !settings) return settings.error();
  close_token(folder + "/istio-token", bundle);
  return bundle;
}

}  // namespace hawser::bootstrap
