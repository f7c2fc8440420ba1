// SPDX-License-Identifier: Apache-2.0
#include "cli/join_flags.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>

#include "base/fd.h"
#include "base/file.h"
#include "certs/token.h"
#include "cli/command.h"
#include "config/value.h"

namespace hawser::cli {
namespace {

constexpr std::size_t kMaxToken = 64UL * 1024;
constexpr std::size_t kMaxRoots = 1UL << 20U;

using Type = config::CaSettings::Type;
using Source = config::TokenSettings::Source;

void entry(YAML::Emitter& out, const char* key, const std::string& value) {
  if (!value.empty()) out << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << value;
}

void begin(YAML::Emitter& out, const char* key) {
  out << YAML::Key << key << YAML::Value << YAML::BeginMap;
}

Status check_address(const char* flag, const std::string& text) {
  if (text.empty()) return {};
  auto parsed = config::parse_host_port(text);
  if (parsed) return {};
  return Error(Code::kInvalidArgument, "HWS-CLI-017", std::string(flag) + " " + parsed.error().message(),
               "e.g. " + std::string(flag) + " istiod.example.com:15012");
}

Result<std::string> read_roots(const std::string& path) {
  if (path.empty()) return std::string();
  auto pem = file::read_bounded(path, kMaxRoots);
  if (!pem)
    return Error(pem.error().code(), "HWS-CLI-016", "--root: " + pem.error().message(),
                 "kubectl get configmap istio-ca-root-cert -o jsonpath='{.data.root-cert\\.pem}' > root.pem");
  const auto head = pem->find("-----BEGIN CERTIFICATE-----");
  if (head != std::string::npos && pem->find("-----END CERTIFICATE-----", head) != std::string::npos) return pem;
  return Error(Code::kInvalidArgument, "HWS-CLI-016", "--root: there is no PEM certificate in " + path,
               "give the root certificate of the mesh");
}

// A pipe as well as a file: to its end, or to where it is too much.
Result<std::string> read_all(int fd, const std::string& name) {
  std::string out;
  std::array<char, 4096> piece{};
  while (out.size() <= kMaxToken) {
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "HWS-CLI-015", "--token-file: can't read " + name);
    if (got == 0) return out;
    out.append(piece.data(), static_cast<std::size_t>(got));
  }
  return Error(Code::kInvalidArgument, "HWS-CLI-015", "--token-file: " + name + " is over 64 KiB",
               "give the token alone");
}

Result<std::string> read_token(const std::string& path) {
  if (path == "-") return read_all(STDIN_FILENO, "standard input");
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, "HWS-CLI-015", "--token-file: can't read " + path, "name the token's file, or -");
  struct stat info {};
  if (::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 077U) != 0)
    warn(path + " can be read by others, who can enrol as this workload: chmod 0600, or remove it");
  return read_all(fd.get(), path);
}

const char* name_of(Source source) {
  constexpr const char* kNames[] = {"file", "exec", "credential", "gce", "kubernetes"};
  return kNames[static_cast<std::size_t>(source)];
}

}  // namespace

bool JoinFlags::any() const {
  for (const std::string* flag : {&token_file, &token_source, &audience, &ca, &control_plane, &root, &name, &group, &ns,
                                  &service_account, &trust_domain, &cluster_id, &mesh_id, &network})
    if (!flag->empty()) return true;
  return false;
}

void add_join_flags(CLI::App& command, JoinFlags& flags) {
  const auto option = [&command](const char* flag, std::string& value, const char* help) {
    command.add_option(flag, value, help)->group("Without a bundle");
  };
  option("--token-file", flags.token_file, "The token that proves who this host is; - is standard input");
  option("--token-source", flags.token_source, "gce, kubernetes, exec or credential: where tokens come from instead");
  option("--audience", flags.audience, "Whom the token is for; default istio-ca");
  option("--ca", flags.ca, "HOST:PORT of the CA, and of the control plane unless that is elsewhere");
  option("--control-plane", flags.control_plane, "HOST:PORT of the control plane");
  option("--root", flags.root, "PEM file with the root certificates of both");
  option("--name", flags.name, "The workload's name; default: that of --group");
  option("--group", flags.group, "The WorkloadGroup to register with; default: none, no registration");
  option("--namespace", flags.ns, "The workload's namespace");
  option("--service-account", flags.service_account, "The workload's service account");
  option("--trust-domain", flags.trust_domain, "The mesh's trust domain");
  option("--cluster-id", flags.cluster_id, "The cluster's id, as the control plane knows it");
  option("--mesh-id", flags.mesh_id, "The mesh's id");
  option("--network", flags.network, "This host's network");
}

Result<std::string> join_text(const JoinFlags& flags) {
  for (const auto& [flag, value] : {std::pair("--ca", flags.ca), std::pair("--control-plane", flags.control_plane)})
    if (auto checked = check_address(flag, value); !checked) return checked.error();
  const std::string plane = flags.control_plane.empty() ? flags.ca : flags.control_plane;
  if (plane.empty())
    return Error(Code::kInvalidArgument, "HWS-CLI-017", "neither --ca nor --control-plane says where the mesh is",
                 "e.g. --ca istiod.example.com:15012");
  auto roots = read_roots(flags.root);
  if (!roots) return roots.error();
  YAML::Emitter out;
  out << YAML::BeginMap;
  begin(out, "mesh");
  entry(out, "trust_domain", flags.trust_domain);
  entry(out, "namespace", flags.ns);
  entry(out, "cluster_id", flags.cluster_id);
  entry(out, "id", flags.mesh_id);
  entry(out, "network", flags.network);
  out << YAML::EndMap;
  begin(out, "workload");
  entry(out, "name", flags.name.empty() ? flags.group : flags.name);
  entry(out, "group", flags.group);
  entry(out, "service_account", flags.service_account);
  out << YAML::EndMap;
  begin(out, "control_plane");
  entry(out, "address", plane);
  if (!roots->empty()) out << YAML::Key << "root" << YAML::Value << YAML::Literal << *roots;
  out << YAML::EndMap;
  if (!flags.ca.empty() && flags.ca != plane) {
    begin(out, "ca");
    entry(out, "address", flags.ca);
    out << YAML::EndMap;
  }
  if (!flags.token_source.empty() || !flags.audience.empty()) {
    begin(out, "identity");
    begin(out, "token");
    entry(out, "source", flags.token_source);
    entry(out, "audience", flags.audience);
    out << YAML::EndMap << YAML::EndMap;
  }
  out << YAML::EndMap;
  return "# Written by 'hawser join', removed by 'hawser leave'.\n" + std::string(out.c_str()) + "\n";
}

Result<std::string> join_token(const JoinFlags& flags) {
  if (flags.token_file.empty()) return std::string();
  return load_token(flags.token_file);
}

Result<std::string> load_token(const std::string& path) {
  auto text = read_token(path);
  if (!text) return text.error();
  const auto token = certs::parse_token(std::move(*text));
  if (token) return std::string(token->text.reveal());
  return Error(Code::kInvalidArgument, "HWS-CLI-015", "--token-file: there is no token in it, or more than one word",
               "give the token alone, e.g. by kubectl create token ACCOUNT --audience istio-ca");
}

Status check_proof(const config::Config& config, bool token_given) {
  const config::TokenSettings& token = config.identity.token;
  if (token.source != Source::kFile) {
    if (!token_given) return {};
    return Error(Code::kInvalidArgument, "HWS-CLI-014",
                 "--token-file isn't used: identity.token.source is " + std::string(name_of(token.source)),
                 "leave out one of the two");
  }
  const bool needs_none =
      config.ca.type == Type::kSpiffe || config.ca.type == Type::kFiles || config.ca.type == Type::kExec;
  if (token_given || needs_none || (!token.path.empty() && file::exists(token.path))) return {};
  return Error(Code::kFailedPrecondition, "HWS-CLI-013", "there is nothing to prove with who this host is",
               "--token-file FILE, or --token-source gce, kubernetes, exec or credential");
}

}  // namespace hawser::cli
