// SPDX-License-Identifier: Apache-2.0
#include "identity_report.h"

#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "certs/key_store_files.h"
#include "certs/machine.h"
#include "certs/token.h"
#include "certs/x509.h"
#include "host_identity.h"
#include "status/time_text.h"

namespace hawser {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFile = 1 << 20;
constexpr std::array kTypes = {"istio", "citadel", "mesh-ca", "spiffe", "files", "exec"};

bool makes_key(const config::Config& config) {
  return config.ca.type == config::CaSettings::Type::kSpiffe || config.ca.type == config::CaSettings::Type::kFiles;
}

// Only what is on disk already: looking must not fetch anything.
std::string token_file(const config::Config& config, const std::string& state_dir) {
  const auto& token = config.identity.token;
  if (token.source != config::TokenSettings::Source::kFile) return {};
  return token.path.empty() ? state_dir + "/identity/token" : token.path;
}

json token_json(const std::string& path, Loop::Wall now) {
  if (path.empty()) return nullptr;
  const auto text = file::read_bounded(path, kMaxFile);
  if (!text || text->empty()) return json{{"path", path}, {"present", false}};
  json out = {{"path", path}, {"present", true}};
  if (const auto expires = certs::token_expiry(*text)) {
    out["expires"] = status::utc_text(*expires);
    out["expired"] = *expires <= now;
  }
  return out;
}

json generations_json(const std::string& folder) {
  json out = json::array();
  for (const auto number : certs::generation::list(folder, "gen-")) {
    const std::string name = certs::generation::name_of(number);
    json item = {{"name", name}};
    if (const auto chain = file::read_bounded(folder + "/" + name + "/cert-chain.pem", kMaxFile))
      if (const auto facts = certs::describe_bundle(*chain)) {
        item["serial"] = facts->front().serial;
        item["not_after"] = status::utc_text(facts->front().not_after);
      }
    out.push_back(std::move(item));
  }
  return out;
}

std::string at_the_end(const config::Config& config, bool attests_again) {
  if (makes_key(config))
    return "the next certificate comes from ca.type " + ca_type(config) + ", without a word from anybody";
  if (attests_again) return "this host proves anew by itself who it is, and is back";
  return "this host needs a new token: hawser identity prove --token-file FILE";
}

}  // namespace

std::string ca_type(const config::Config& config) {
  return kTypes.at(static_cast<std::size_t>(config.ca.type));
}

void report_identity(IdentityReportContext context, const config::Config& config, const HostIdentity& identity,
                     std::function<void(Result<json>)> done) {
  json out = {{"schema_version", 1}, {"spiffe_id", config.spiffe_id()}, {"ca", {{"type", ca_type(config)}}}};
  if (!makes_key(config)) out["ca"]["address"] = config.ca_address().text();
  const auto traits = identity.token_source()->traits();
  out["proof"] = {{"source", traits.name}, {"attests_again", traits.attests_again}};
  if (const auto mine = identity.current())
    out["certificate"] = {{"spiffe_id", mine->spiffe_id},
                          {"serial", mine->serial},
                          {"not_after", status::utc_text(mine->not_after)},
                          {"expired", mine->expired_at(context.loop.wall())}};
  out["when_all_has_ended"] = at_the_end(config, traits.attests_again);
  context.slow.submit([&loop = context.loop, folder = context.state_dir + "/identity",
                       token = token_file(config, context.state_dir), now = context.loop.wall(), out,
                       done = std::move(done)]() mutable {
    const auto machine = certs::observe_machine();
    out["machine"] = {{"id", machine.id}, {"instance", machine.instance}};
    out["store"] = {{"folder", folder}, {"generations", generations_json(folder)}};
    if (auto told = token_json(token, now); !told.is_null()) out["proof"]["token"] = std::move(told);
    loop.post([done = std::move(done), out = std::move(out)] { done(out); });
  });
}

Status may_reset(const config::Config& config, const HostIdentity& identity, const std::string& token, bool force,
                 Loop::Wall now) {
  if (!token.empty()) {
    const auto expires = certs::token_expiry(token);
    if (!expires || *expires > now) return {};
    return Error(Code::kUnauthenticated, "HWS-MB-001", "the token expired at " + status::utc_text(*expires),
                 "make a new one");
  }
  const bool elsewhere =
      config.identity.token.source == config::TokenSettings::Source::kFile && !config.identity.token.path.empty();
  if (force || makes_key(config) || identity.token_source()->traits().attests_again || elsewhere) return {};
  return Error(Code::kFailedPrecondition, "HWS-AD-006",
               "without the certificate and the token on disk nothing proves who this host is",
               "give a new token with --token-file, or --force to be without an identity until then");
}

}  // namespace hawser
