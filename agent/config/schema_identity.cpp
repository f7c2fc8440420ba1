// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "config/header.h"
#include "config/schema_control_plane.h"
#include "config/schema_parts.h"
#include "config/schema_value.h"

namespace hawser::config {
namespace {

constexpr std::size_t kMostExports = 16;
constexpr std::size_t kLongestSocket = 106;  // without the first slash; sockaddr_un has 108 bytes
constexpr std::size_t kMostRootFiles = 64;
constexpr std::size_t kMostHeaders = 16;

std::function<Status(const std::string&)> absolute_path(std::string& out) {
  return [&out](const std::string& text) -> Status {
    if (!text.starts_with('/')) return bad("'" + text + "' is not an absolute path");
    out = text;
    return {};
  };
}

// Lists replace what an earlier file said.
std::function<Status(const std::string&)> list_of(MapReader& map, const std::string& key,
                                                  std::vector<std::string>& out) {
  if (map.has(key)) out.clear();
  return [&out](const std::string& text) -> Status {
    out.push_back(text);
    return {};
  };
}

void read_command(MapReader& map, std::vector<std::string>& command) {
  map.list("command", list_of(map, "command", command));
  if (!command.empty() && !command.front().starts_with('/'))
    map.fail("command", bad("'" + command.front() + "' is not an absolute path"));
}

Status read_share(double& out, const std::string& text, double low, double high) {
  std::size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || !(value >= low && value <= high)) {
    char range[64];
    std::snprintf(range, sizeof range, "%g to %g", low, high);
    return bad("'" + text + "' is not a share from " + range);
  }
  out = value;
  return {};
}

bool is_pem(const std::string& text) {
  return text.find("-----BEGIN CERTIFICATE-----") != std::string::npos;
}

// Names as HTTP/2 has them: in lower case.
void read_headers(MapReader& map, std::map<std::string, std::string>& headers) {
  std::map<std::string, std::string> given;
  map.string_map("headers", given);
  if (map.has("headers")) headers.clear();
  for (const auto& [name, value] : given) {
    if (auto checked = check_header(lower_case(name), value); !checked) {
      map.fail("headers", checked.error());
      continue;
    }
    headers[lower_case(name)] = value;
  }
  if (headers.size() > kMostHeaders) map.fail("headers", bad("are too many", "16 at most"));
}

void read_ca(MapReader& map, CaSettings& ca) {
  map.scalar("type", choice({"istio", "citadel", "mesh-ca", "spiffe", "files", "exec"},
                            [&ca](std::size_t i) { ca.type = static_cast<CaSettings::Type>(i); }));
  map.scalar("address", set<HostPort>(ca.address, parse_host_port));
  read_addresses(map, ca.addresses);
  if (ca.address.empty() && !ca.addresses.empty()) ca.address = ca.addresses.front().at;
  map.text("tls_name", ca.tls_name);
  map.text("root", ca.root_pem);
  if (map.has("root") && ca.root_pem != "system" && !is_pem(ca.root_pem))
    map.fail("root", bad("holds no PEM certificate", "paste it as a block: root: |, or write root: system"));
  read_headers(map, ca.headers);
  map.text("cert_signer", ca.cert_signer);
  map.scalar("location", [&ca](const std::string& text) -> Status {
    if (text.empty() || text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos)
      return bad("'" + text + "' is no zone or region", "e.g. europe-west1 or europe-west1-b");
    ca.location = text;
    return {};
  });
  map.scalar("socket", [&ca](const std::string& text) -> Status {
    const auto name = text.starts_with("unix:/") ? text.find_first_not_of('/', 5) : std::string::npos;
    if (name == std::string::npos) return bad("'" + text + "' is not unix:///path");
    if (text.size() - name > kLongestSocket) return bad("'" + text + "' is longer than a socket's path can be");
    ca.socket = text;
    return {};
  });
  map.scalar("folder", absolute_path(ca.folder));
  map.scalar("layout", choice({"auto", "istio", "spiffe", "gke", "cert-manager", "hawser"},
                              [&ca](std::size_t i) { ca.layout = static_cast<CaSettings::Layout>(i); }));
  read_command(map, ca.command);
  map.scalar("timeout", millis(ca.timeout));
  if (ca.timeout < Millis(100) || ca.timeout > std::chrono::minutes(5))
    map.fail("timeout", bad("is not from 100ms to 5m"));
}

void read_token(MapReader& map, TokenSettings& token) {
  map.scalar("source", choice({"file", "exec", "credential", "gce", "kubernetes"},
                              [&token](std::size_t i) { token.source = static_cast<TokenSettings::Source>(i); }));
  map.scalar("path", absolute_path(token.path));
  read_command(map, token.command);
  map.scalar("timeout", millis(token.timeout));
  if (token.timeout < Millis(100) || token.timeout > std::chrono::minutes(1))
    map.fail("timeout", bad("is not from 100ms to 1m"));
  map.scalar("credential", [&token](const std::string& text) -> Status {
    if (text.empty() || text.find('/') != std::string::npos) return bad("'" + text + "' is not a credential's name");
    token.credential = text;
    return {};
  });
  map.text("audience", token.audience);
  map.scalar("kubeconfig", absolute_path(token.kubeconfig));
  map.text("context", token.kube_context);
}

void read_settings(MapReader& map, IdentitySettings& identity) {
  map.scalar("spiffe_id", [&identity](const std::string& text) -> Status {
    if (!text.starts_with("spiffe://") || text.find('/', 9) == std::string::npos || text.size() > 2048)
      return bad("'" + text + "' is not spiffe://TRUST_DOMAIN/PATH");
    identity.spiffe_id = text;
    return {};
  });
  map.scalar("ttl", seconds(identity.ttl));
  map.scalar("renew_at", [&](const std::string& text) { return read_share(identity.renew_at, text, 0.1, 0.9); });
  map.scalar("jitter", [&](const std::string& text) { return read_share(identity.jitter, text, 0, 0.3); });
  if (identity.ttl < std::chrono::seconds(30)) map.fail("ttl", bad("is under 30s", "a host needs time to renew"));
  map.scalar("key", choice({"ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"},
                           [&identity](std::size_t i) { identity.key = static_cast<KeyType>(i); }));
  if (map.has("warn_at")) identity.warn_at.clear();
  map.list("warn_at", [&identity](const std::string& text) -> Status {
    double share = 0;
    if (auto read = read_share(share, text, 0.01, 0.9); !read) return read;
    identity.warn_at.push_back(share);
    return {};
  });
  std::sort(identity.warn_at.rbegin(), identity.warn_at.rend());
  map.map("token", [&identity](MapReader& token) { read_token(token, identity.token); });
}

void read_trust(MapReader& map, TrustSettings& trust) {
  map.list("domain_aliases", list_of(map, "domain_aliases", trust.domain_aliases));
  if (map.has("roots")) trust.roots.clear();
  map.list("roots", [&trust](const std::string& text) -> Status {
    std::string path;
    if (auto ok = absolute_path(path)(text); !ok) return ok;
    trust.roots.push_back(path);
    return {};
  });
  map.scalar("from_control_plane", boolean(trust.from_control_plane));
  map.scalar("crl", absolute_path(trust.crl));
  map.scalar("overlap", seconds(trust.overlap));
  if (trust.roots.size() > kMostRootFiles) map.fail("roots", bad("names more than 64 files"));
  if (map.has("exclude")) trust.exclude.clear();
  map.list("exclude", [&trust](const std::string& text) -> Status {
    std::string digest;
    for (const char c : text)
      if (c != ':') digest += static_cast<char>(c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
    if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos)
      return bad("'" + text + "' is not a certificate's SHA-256", "hawser trust show");
    trust.exclude.push_back(digest);
    return {};
  });
}

void read_export(MapReader& map, std::vector<ExportSettings>& out) {
  ExportSettings item;
  map.scalar("to", absolute_path(item.to));
  map.scalar("layout", choice({"istio", "spiffe", "pem"},
                              [&item](std::size_t i) { item.layout = static_cast<ExportSettings::Layout>(i); }));
  map.text("group", item.group);
  if (!map.has("to")) return map.fail("to", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
  for (const auto& other : out)
    if (other.to == item.to)
      return map.fail("to", bad("'" + item.to + "' is exported to already", "give each export a folder of its own"));
  if (out.size() >= kMostExports) return map.fail("to", bad("is one export too many", "16 at most"));
  out.push_back(std::move(item));
}

void read_sds(MapReader& map, SdsSettings& sds) {
  if (map.has("files")) sds.files.clear();
  map.list("files", [&sds](const std::string& text) -> Status {
    std::string path;
    if (auto ok = absolute_path(path)(text); !ok) return ok;
    sds.files.push_back(path);
    return {};
  });
  map.map("private_key_provider", [&sds](MapReader& provider) {
    provider.scalar("name", choice({"cryptomb", "qat"},
                                   [&sds](std::size_t i) { sds.provider.name = i == 0 ? "cryptomb" : "qat"; }));
    provider.scalar("poll_delay", millis(sds.provider.poll_delay));
    provider.scalar("fallback", boolean(sds.provider.fallback));
  });
}

}  // namespace

void read_identity(MapReader& root, Config& config) {
  root.map("ca", [&](MapReader& map) { read_ca(map, config.ca); });
  root.map("identity", [&](MapReader& map) { read_settings(map, config.identity); });
  root.map("trust", [&](MapReader& map) { read_trust(map, config.trust); });
  if (root.has("exports")) config.exports.clear();
  root.each_map("exports", [&](MapReader& map) { read_export(map, config.exports); });
  root.map("sds", [&](MapReader& map) { read_sds(map, config.sds); });
}

void check_identity(const Config& config, std::vector<Error>& errors) {
  const auto missing = [&errors](const std::string& key, const std::string& hint) {
    errors.emplace_back(Code::kFailedPrecondition, "HWS-CF-005", key + " is missing", hint);
  };
  using Type = CaSettings::Type;
  using Source = TokenSettings::Source;
  if (config.ca.type == Type::kSpiffe && config.ca.socket.empty())
    missing("ca.socket", "name the Workload API's socket, e.g. unix:///run/spire/sockets/agent.sock");
  if (config.ca.type == Type::kFiles && config.ca.folder.empty())
    missing("ca.folder", "name the folder that holds key, chain and roots");
  if (config.ca.type == Type::kExec && config.ca.command.empty())
    missing("ca.command", "name the program that has a certificate request signed");
  if (config.ca.type == Type::kMeshCa && config.ca.location.empty())
    missing("ca.location", "name the zone or region of the mesh, e.g. europe-west1");
  if (config.ca.type == Type::kMeshCa && config.ca.address.empty())
    missing("ca.address", "name the CA, e.g. meshca.googleapis.com:443, mostly with root: system");
  if (config.identity.token.source == Source::kExec && config.identity.token.command.empty())
    missing("identity.token.command", "name the program that prints a token");
  if (config.identity.token.source == Source::kKubernetes && config.identity.token.kubeconfig.empty())
    missing("identity.token.kubeconfig", "name a kubeconfig whose user may create tokens of the service account");
}

}  // namespace hawser::config
