// SPDX-License-Identifier: Apache-2.0
#include "host_identity.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "base/log.h"
#include "ca_sources.h"
#include "certs/clock.h"
#include "certs/machine.h"
#include "certs/rotation.h"
#include "certs/utc.h"
#include "exporter.h"
#include "membership_json.h"
#include "token_sources.h"

namespace hawser {
namespace {

certs::KeyKind kind_of(config::KeyType type) {
  static_assert(static_cast<int>(config::KeyType::kRsa4096) == static_cast<int>(certs::KeyKind::kRsa4096));
  return static_cast<certs::KeyKind>(type);
}

// A fleet that comes back after an outage of its power asks over this time.
constexpr std::chrono::milliseconds kRestartSpread{5'000};

std::string how_to_prove(const config::Config& config) {
  const auto& token = config.identity.token;
  const std::string make = "kubectl create token " + config.workload.service_account + " -n " + config.mesh.ns +
                           " --audience " + token.audience;
  if (token.source == config::TokenSettings::Source::kCredential)
    return "put a new token into the credential " + token.credential + " (" + make + "), and restart hawser.service";
  return "give this host a new token: " + make + " > token; here: hawser identity prove --token-file token";
}

}  // namespace

struct HostIdentity::Impl : std::enable_shared_from_this<Impl> {
  Context context;
  config::Config config;
  // In order of construction; destroyed backwards.
  std::optional<certs::KeyStore> store;
  std::shared_ptr<certs::TokenCache> tokens;
  ThreadWorker worker;
  CaSource ca;
  std::unique_ptr<Exporter> exporter;
  std::unique_ptr<certs::Rotation> rotation;
  std::vector<std::function<void(const certs::IdentityPtr&)>> listeners;
  bool joining = false;

  Impl(Context c, config::Config cfg) : context(std::move(c)), config(std::move(cfg)) {}

  Status open(const Begin& begin) {
    if (auto good = check(begin.token); !good) return good;
    auto opened = certs::KeyStore::open(context.state_dir + "/identity", certs::observe_machine());
    if (!opened) return opened.error();
    store = *opened;
    joining = begin.joining;
    if (!begin.token.empty())
      if (auto stored = store->store_token(begin.token); !stored) return stored;
    tokens = make_token_source(config, *store);
    return {};
  }

  Status check(const std::string& token) const {
    const auto expires = certs::token_expiry(token);
    if (!expires || *expires > context.loop.wall()) return {};
    return Error(Code::kUnauthenticated, "HWS-MB-001", "the token expired at " + certs::utc_text(*expires),
                 "make a new bundle or token, and give that");
  }

  void prove(const std::string& token, std::function<void(Status)> done) {
    if (config.identity.token.source != config::TokenSettings::Source::kFile)
      return done(Error(Code::kFailedPrecondition, "HWS-ID-017",
                        "a token isn't used here: identity.token.source is " + tokens->traits().name,
                        "mend that source, or set identity.token.source: file and restart hawserd"));
    if (auto good = check(token); !good) return done(good.error());
    worker.submit([weak = weak_from_this(), copy = *store, source = tokens,
                   text = std::make_shared<certs::Secret>(token), done = std::move(done), &loop = context.loop] {
      const auto stored = copy.store_token(text->reveal());
      source->forget();
      loop.post([weak, stored, done] {
        const auto self = weak.lock();
        if (!stored || !self || !self->rotation) return done(stored);
        self->rotation->renew_now(done);
      });
    });
  }

  void start(std::optional<dial::Selection::Proxy> proxy, std::function<void()> ready) {
    ca = make_ca_source({context.loop, context.slow, context.metrics, context.server_roots}, config, std::move(proxy));
    certs::Rotation::Options options;
    options.request.expected = expected_id(config);
    options.request.key = kind_of(config.identity.key);
    options.request.ttl = config.identity.ttl;
    options.policy.renew_at = config.identity.renew_at;
    options.policy.jitter = config.identity.jitter;
    options.policy.warn_at = config.identity.warn_at;
    if (!joining) options.restart_spread = kRestartSpread;
    options.clock_unsettled = certs::clock_unsettled;
    options.how_to_prove = how_to_prove(config);
    options.seed = random_seed();
    rotation = std::make_unique<certs::Rotation>(context.loop, worker, *store, *ca.client, tokens, options,
                                                 context.health, context.metrics);
    // Read before the stored certificate is, for the relay's first attempt; what costs more waits until it's needed.
    if (tokens->traits().refresh_at <= 0) (void)tokens->at_hand(worker);
    exporter = std::make_unique<Exporter>(context.loop, context.slow, context.health, context.metrics, config.exports);
    for (auto& listener : listeners) rotation->on_change(listener);
    rotation->start(std::move(ready));
  }
};

HostIdentity::HostIdentity(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
HostIdentity::~HostIdentity() {
  if (impl_->tokens) impl_->tokens->cancel();
}

Result<std::unique_ptr<HostIdentity>> HostIdentity::open(Context context, const config::Config& config,
                                                         const Begin& begin) {
  auto impl = std::make_shared<Impl>(std::move(context), config);
  if (auto opened = impl->open(begin); !opened) return opened.error();
  return std::unique_ptr<HostIdentity>(new HostIdentity(std::move(impl)));
}

void HostIdentity::on_change(std::function<void(const certs::IdentityPtr&)> callback) {
  impl_->listeners.push_back(std::move(callback));
}

void HostIdentity::start(std::optional<dial::Selection::Proxy> proxy, std::function<void()> ready) {
  impl_->start(std::move(proxy), std::move(ready));
}

void HostIdentity::stop() {
  impl_->tokens->cancel();
  if (impl_->rotation) impl_->rotation->stop();
  if (impl_->exporter) impl_->exporter->stop();
}

void HostIdentity::export_with(const std::string& roots_pem) {
  if (impl_->exporter && current()) impl_->exporter->publish(current(), roots_pem);
}

Status HostIdentity::erase() {
  return impl_->store->erase();
}

void HostIdentity::remove_exports(std::function<void(Status)> done) {
  if (!impl_->exporter) return done({});
  impl_->exporter->erase(std::move(done));
}

void HostIdentity::renew(std::function<void(Status)> done) {
  if (!impl_->rotation)
    return done(Error(Code::kFailedPrecondition, "HWS-MB-004", "there is no identity yet", "hawser status"));
  impl_->rotation->renew_now(std::move(done));
}

void HostIdentity::prove(const std::string& token, std::function<void(Status)> done) {
  impl_->prove(token, std::move(done));
}

certs::IdentityPtr HostIdentity::current() const {
  return impl_->rotation ? impl_->rotation->current() : nullptr;
}

std::shared_ptr<certs::TokenSource> HostIdentity::token_source() const {
  return impl_->tokens;
}

Result<nlohmann::json> HostIdentity::describe(const std::string& presented_serial) const {
  const auto identity = current();
  if (!identity) return Error(Code::kFailedPrecondition, "HWS-MB-004", "there is no identity yet", "hawser status");
  return identity_json(*identity, presented_serial, impl_->rotation->next_renewal());
}

std::function<xds::Credentials()> HostIdentity::relay_credentials() const {
  return [this]() -> xds::Credentials {
    const auto identity = current();
    xds::Credentials out;
    if (const auto& ask = impl_->context.server_roots) out.roots_pem = ask(impl_->config.control_plane.root_pem);
    if (!identity || identity->expired_at(impl_->context.loop.wall())) return out;
    out.key_pem = std::string(identity->key_pem.reveal());
    out.chain_pem = identity->chain_pem;
    return out;
  };
}

std::function<Result<std::string>()> HostIdentity::relay_token() const {
  // On the loop, which may not wait for a token.
  return [this]() -> Result<std::string> { return impl_->tokens->at_hand(impl_->worker); };
}

}  // namespace hawser
