// SPDX-License-Identifier: Apache-2.0
#include "cli/intercept_intent.h"

#include <cstdio>

#include "base/file.h"
#include "config/load.h"
#include "interception_intent.h"
#include "netfilter/sshd_config.h"

namespace hawser::cli {
namespace {

using netfilter::Intent;

// Far from what systems give, and from the two numbers that mean nobody, 65534 and 4294967294 (systemd's uids and
// gids).
constexpr std::uint32_t kAgentStandIn = 0xfffffff0;
constexpr std::uint32_t kProxyStandIn = 0xfffffff1;

bool literal(const std::string& host) {
  return netfilter::parse_cidr(host).has_value();
}

Result<config::Config> load(Context& context) {
  const std::string given = context.paths.main_file;
  if (given != config::Paths().main_file && !file::exists(given))
    return Error(Code::kNotFound, "HWS-CF-001", given + " doesn't exist", "check the path after --config");
  auto loaded = config::load(context.paths);
  if (loaded.errors.empty()) return loaded.config;
  for (std::size_t i = 1; i < loaded.errors.size(); ++i)
    std::fprintf(stderr, "hawser: %s\n", loaded.errors[i].to_string().c_str());
  return loaded.errors.front();
}

// Packets to the control plane and the CA go to addresses; names have some only where hawserd looks them up.
void add_never(const config::Config& config, Interception& out) {
  std::vector<config::HostPort> all;
  const auto add = [&all](const config::HostPort& at, const std::vector<std::string>& dial) {
    if (at.empty()) return;
    if (dial.empty()) all.push_back(at);
    for (const auto& address : dial) all.push_back({address, at.port});
  };
  add(config.control_plane.address, config.control_plane.dial);
  for (const auto& address : config.control_plane.addresses) add(address.at, {});
  add(config.ca.address, {});
  for (const auto& address : config.ca.addresses) add(address.at, {});
  add(config.control_plane.http_proxy.address, {});
  for (const auto& at : all) {
    if (literal(at.host))
      out.intent.never.push_back({at.host, at.port});
    else
      out.warnings.push_back("not known here: the addresses of " + at.host + ", which are never captured");
  }
}

std::string shown(const StandIn& stand_in) {
  return "<" + stand_in.name + ">";
}

// The users of the package, on a machine that doesn't have it. Others have to exist, or to be numbers.
void stand_in(std::string& user, const std::string& ours, std::uint32_t id, Interception& out) {
  if (user != ours || config::resolve_user(user)) return;
  out.stand_ins.push_back({user, id});
  out.warnings.push_back("there is no user '" + user + "' here: " + shown(out.stand_ins.back()) + " (" +
                         std::to_string(id) + ") stands for its ids, so another generation comes out than on the host");
  user = std::to_string(id);
}

Status add_own(const config::Config& config, Intent& out) {
  const auto agent = config::resolve_user(config.users.agent);
  const auto proxy = config::resolve_user(config.users.proxy);
  if (!agent) return agent.error();
  if (!proxy) return proxy.error();
  if (const auto agents = config::resolve_group(config.users.agent)) out.exempt_gids.push_back(*agents);
  if (config.workload.addresses.empty()) return {};
  for (const auto& probe : config.health_probes())
    if (probe.through_proxy) out.own_probes.push_back({config.workload.addresses.front(), probe.port});
  return {};
}

}  // namespace

Result<Interception> configured_interception(Context& context, const std::string& families, UnknownUsers users) {
  auto config = load(context);
  if (!config) return config.error();
  Interception out;
  if (users == UnknownUsers::kStandIns) {
    stand_in(config->users.agent, config::Users().agent, kAgentStandIn, out);
    stand_in(config->users.proxy, config::Users().proxy, kProxyStandIn, out);
  }
  out.intent = interception_intent(*config);
  if (auto own = add_own(*config, out.intent); !own) return own.error();
  add_never(*config, out);
  if (out.intent.dns.capture == netfilter::Dns::Capture::kResolvers && out.intent.dns.resolvers.empty())
    out.warnings.emplace_back("not known here: the host's name servers, questions to which are captured");
  if (exempts_root(out.intent)) out.warnings.push_back(std::string(kRootIsExempt) + " (fix: " + kRootIsExemptFix + ")");
  out.intent.ipv4 = families != "ipv6";
  out.intent.ipv6 = families != "ipv4";
  out.guard.ssh_ports = netfilter::configured_ssh_ports();
  auto plan = netfilter::compile(out.intent, out.guard);
  if (!plan) return plan.error();
  out.plan = std::move(*plan);
  return out;
}

void say_warnings(const Interception& interception) {
  for (const std::string& line : interception.warnings) warn(line);
}

std::string with_names(std::string text, const Interception& interception) {
  for (const StandIn& one : interception.stand_ins) {
    const std::string number = std::to_string(one.id);
    const std::string name = shown(one);
    for (auto at = text.find(number); at != std::string::npos; at = text.find(number, at + name.size()))
      text.replace(at, number.size(), name);
  }
  return text;
}

}  // namespace hawser::cli
