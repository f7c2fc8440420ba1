// SPDX-License-Identifier: Apache-2.0
#include "membership.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/backoff.h"
#include "base/log.h"
#include "bootstrap/preflight.h"
#include "broker/client.h"
#include "certs/token.h"
#include "dialling.h"
#include "extension_preflight.h"
#include "host_facts.h"
#include "host_identity.h"
#include "identity_report.h"
#include "interception.h"
#include "interception_options.h"
#include "lease.h"
#include "local_servers.h"
#include "machine_shutdown.h"
#include "membership_json.h"
#include "mesh_proxy.h"
#include "proxy_node.h"
#include "registration.h"
#include "renewal_waiters.h"
#include "rpc/grpc_server.h"
#include "sds/server.h"
#include "snapshot_facts.h"
#include "status/http_server.h"
#include "status/time_text.h"
#include "trust.h"
#include "xds/relay.h"

namespace hawser {
namespace {
using nlohmann::json;
// Before a proxy that was found is followed without it.
constexpr auto kPlaneFirst = std::chrono::milliseconds(1000);
}  // namespace

struct Membership::Impl : std::enable_shared_from_this<Impl> {
  Context context;
  config::Config config;
  Backoff backoff{std::chrono::milliseconds(200), std::chrono::seconds(10), random_seed()};
  HostFacts facts;

  // In order of construction; destroyed backwards.
  std::unique_ptr<broker::BrokerClient> broker;
  std::unique_ptr<Lease> lease;
  std::unique_ptr<status::HttpServer> http;
  std::unique_ptr<dial::Dialler> plane_dialler;
  std::unique_ptr<Trust> trust;
  std::unique_ptr<HostIdentity> identity;
  std::unique_ptr<sds::SdsServer> sds;
  std::unique_ptr<xds::Relay> relay;
  std::unique_ptr<SnapshotKeeper> snapshot;
  std::unique_ptr<LocalGrpc> grpc;
  std::unique_ptr<MeshProxy> proxy;
  std::unique_ptr<Interception> interception;
  std::unique_ptr<Registration> registration;
  std::unique_ptr<RenewalWaiters> renewals;
  std::unique_ptr<Loop::Timer> timer;
  bool found = false;  // a proxy ran before us
  bool bare = false;   // it's followed, and there's nothing yet that another would serve
  bool ending = false;
  std::string leaving;  // what is done for it now
  Interception::Listeners captured;

  Impl(Context c, config::Config cfg) : context(std::move(c)), config(std::move(cfg)) {}

  Lifecycle& life() { return context.lifecycle; }
  HealthSink& health() { return context.health; }

  // --- CONFIGURED: what can be wrong at once -----------------------------------------------------------------------
  Status start(const HostIdentity::Begin& begin) {
    const auto verified_by = [this](const std::string& pinned) { return trust->server_roots(pinned); };
    auto opened = HostIdentity::open(
        {context.loop, context.slow, context.metrics, health(), context.state_dir, verified_by}, config, begin);
    if (!opened) return opened.error();
    identity = std::move(*opened);
    trust = std::make_unique<Trust>(
        Trust::Context{context.loop, context.slow, context.metrics, health(), context.state_dir}, config);
    broker = std::make_unique<broker::BrokerClient>(context.loop, context.run_dir + "/broker.sock");
    lease = std::make_unique<Lease>(
        context.loop, [this](const broker::v1::Request& request, std::chrono::milliseconds timeout,
                             Lease::Answer answer) { broker->call(request, timeout, std::move(answer)); });
    lease->start();
    snapshot = make_snapshot_keeper(context.loop, context.slow, context.metrics, health(), config, context.state_dir);
    // Before anything that may wait, such as a name: the proxy of our predecessor is asking already. check_ports()
    // tries again, and says why if it couldn't.
    if (auto served = start_grpc(); !served) log::warn(served.error().to_string());
    trust->on_change([this](const Trust::Content&) { publish(identity->current()); });
    trust->start();
    life().reach(Event::kConfigured);
    learn_host();
    return {};
  }

  // Runs `step` again after a while.
  void again(const std::string& item, const Error& error, void (Impl::*step)()) {
    health().report(item, HealthState::kFailed, error.message(), &error);
    timer = context.loop.after(std::chrono::milliseconds(100) + backoff.next(), [this, step] { (this->*step)(); });
  }

  void learn_host() {
    context.slow.submit([self = shared_from_this()] {
      auto seen = observe_host(self->config, self->context.state_dir);
      self->context.loop.post([self, seen = std::move(seen)] {
        if (self->ending) return;
        if (!seen) return self->again("host", seen.error(), &Impl::learn_host);
        self->facts = *seen;
        self->health().report("host", HealthState::kOk,
                              "address " + self->facts.addresses.front() + " (" + self->facts.own.rule +
                                  "), platform " + self->facts.platform,
                              nullptr);
        self->preflight();
      });
    });
  }

  // --- PREFLIGHT_OK: is there room, and is the broker there --------------------------------------------------------
  void preflight() {
    const auto permitted = [self = shared_from_this()](const HostPermits& seen) { self->relay->permit(seen); };
    proxy::BrokerHost(*broker, permitted).observe([self = shared_from_this()](const auto& seen) {
      if (self->ending) return;
      if (!seen) return self->again("broker", seen.error(), &Impl::preflight);
      self->health().report("broker", HealthState::kOk, "reachable", nullptr);
      const bool runs =
          std::any_of(seen->begin(), seen->end(), [](const auto& generation) { return generation.running; });
      self->check_ports(runs);
    });
  }

  // The ports of a proxy that runs already are its own: it will be adopted.
  void check_ports(bool proxy_runs) {
    found = proxy_runs;
    Status checked = judge_host(config, facts);
    if (checked && !proxy_runs) checked = bootstrap::ports_free({kOutboundPort, kInboundPort, kReadinessPort, 15090});
    if (checked && !http) checked = start_http();
    if (checked && !grpc) checked = start_grpc();
    if (!checked) return again("preflight", checked.error(), &Impl::preflight);
    health().report("preflight", HealthState::kOk, "ports are free, sockets are up", nullptr);
    // A proxy that runs tells by itself what it lacks.
    const bool ask = !config.compat.strip_istio_extensions && !proxy_runs;
    check_extensions(ask ? broker.get() : nullptr, health(), [self = shared_from_this()] {
      if (self->ending) return;
      self->backoff.reset();
      self->life().reach(Event::kPreflightOk);
      self->start_identity();
    });
  }

  Status start_http() {
    auto server = serve_status(context.loop, context.metrics, config.status_port,
                               endpoint_sources(life(), [this] { return proxy.get(); }));
    if (!server) return server.error();
    http = std::move(*server);
    return {};
  }

  Status start_grpc() {
    if (!sds) sds = make_sds(context.loop, context.slow, context.metrics, health(), config, context.state_dir);
    if (!relay) {
      xds::Relay::Options options;
      options.strip_istio_extensions = config.compat.strip_istio_extensions;
      if (config.trust.from_control_plane) options.proxy_config = trust->control_plane_sink();
      relay = std::make_unique<xds::Relay>(context.loop, context.metrics, health(), options);
    }
    auto server = serve_grpc(context.loop, context.metrics, health(), context.run_dir, config, *sds, *relay);
    if (!server) return server.error();
    grpc = std::move(*server);
    return {};
  }

  void publish(const certs::IdentityPtr& mine) {
    const auto& trusted = trust->content();
    if (!mine) return;
    sds->publish(mine, {trusted.roots_pem, trusted.crl_pem, trusted.crl_of_leaf_only});
    identity->export_with(trusted.roots_pem);
  }

  // --- IDENTITY_READY ----------------------------------------------------------------------------------------------
  void start_identity() {
    identity->on_change([this](const certs::IdentityPtr& fresh) {
      trust->on_identity(fresh);
      publish(fresh);
    });
    identity->start(facts.proxy, [this] {
      life().reach(Event::kIdentityReady);
      start_relay();
    });
  }

  // --- CONTROL_PLANE_CONNECTED -------------------------------------------------------------------------------------
  void start_relay() {
    xds::UpstreamOptions options;
    options.dial_target = config.control_plane.address.text();
    options.server_name = config.control_plane.server_name();
    const auto roots = [this] { return trust->server_roots(config.control_plane.root_pem); };
    relay->set_dialler(*(plane_dialler = make_plane_dialler(context.loop, context.slow, config, facts.proxy, roots)));
    options.cluster_id = config.mesh.cluster_id;
    options.reconnect_spread = config.control_plane.reconnect_spread;
    options.max_response = std::size_t{config.control_plane.max_response_mib} << 20;
    prepare_registration();
    relay->on_failed([this](const Error& error) { registration->failed(error); });
    relay->on_connected([this](bool connected) {
      registration->connected(connected);
      on_plane(connected);
    });
    relay->on_accepted([this] { snapshot->on_accepted(); });
    snapshot->begin(snapshot_source(*relay), [this](const std::string& reason) { go_without_plane(reason, false); });
    relay->start(bootstrap::node_bytes(node_options(config, facts)), options, identity->relay_credentials(),
                 identity->relay_token());
    if (found) timer = context.loop.after(kPlaneFirst, [this] { go_without_plane("a proxy runs already", true); });
  }

  void go_without_plane(const std::string& reason, bool without_anything) {
    bare = without_anything;
    life().pass_over(Event::kControlPlaneConnected, reason);
    if (!proxy) return start_proxy();
    if (proxy->supervisor().live()) intercept();
  }

  void on_plane(bool connected) {
    snapshot->on_plane(connected);
    if (!connected || life().reached(Event::kControlPlaneConnected)) return;
    const bool provisional = std::exchange(bare, false);
    life().reach(Event::kControlPlaneConnected);
    if (!proxy) return start_proxy();
    if (provisional && proxy->supervisor().live()) return intercept();
    on_registrable();
  }

  // --- PROXY_READY -------------------------------------------------------------------------------------------------
  void start_proxy() {
    timer.reset();
    const auto unprepared = [this] {
      return std::string(bare ? "nobody has said yet what a new proxy would serve" : "");
    };
    proxy =
        std::make_unique<MeshProxy>(MeshProxy::Context{context.loop, context.slow, *broker, *relay,
                                                       [this] { return identity->current() != nullptr; }, health(),
                                                       context.metrics, context.run_dir, context.state_dir, unprepared},
                                    config, facts, [this](const std::string& reason) { registration->drain(reason); });
    proxy::Supervisor& supervisor = proxy->supervisor();
    supervisor.on_replaced([this](const std::string& generation, pid_t) {
      relay->set_serving(generation);
      proxy->drain().on_serving();
    });
    interception = std::make_unique<Interception>(context.loop, *broker, context.metrics, health(),
                                                  interception_options(config, facts));
    registration->start();
    supervisor.start([this](const std::string& generation, pid_t) { on_live(generation); },
                     [this](const std::string& reason) { on_down(reason); });
  }

  void on_live(const std::string& generation) {
    relay->set_serving(generation);
    life().reach(Event::kProxyReady);
    intercept();
    proxy->drain().on_serving();
  }

  void intercept() {
    const Interception::Listeners bound{proxy->listens(false), proxy->listens(true)};
    Interception::Events events;
    events.as_it_is = [this] { return bare || proxy->drain().listeners_closed(); };
    events.may_apply = [this] { return !bare; };  // nobody would confirm it
    events.may_confirm = [this] { return relay->status().connected || snapshot->confirmed_before(); };
    events.active = [this, bound] { on_intercepting(bound); };
    events.lost = [this](const std::string& reason) {
      registration->not_intercepted("");
      life().lose(Event::kIntercepting, reason);
    };
    interception->apply(bound, std::move(events));
  }

  void on_down(const std::string& reason) {
    registration->not_intercepted("");
    life().lose(Event::kProxyReady, reason);
    interception->proxy_down();
  }

  // --- INTERCEPTING, REGISTERED ------------------------------------------------------------------------------------

  void prepare_registration() {
    Registration::Hooks hooks;
    hooks.identity = [this]() -> registration::ProbeIdentity {
      const auto mine = identity->current();
      if (!mine) return {};
      return {std::string(mine->key_pem.reveal()), mine->chain_pem, trust->content().roots_pem, mine->spiffe_id};
    };
    hooks.registered = [this] {
      if (life().reached(Event::kIntercepting) && life().reached(Event::kControlPlaneConnected))
        life().reach(Event::kRegistered);
    };
    registration = std::make_unique<Registration>(
        Registration::Context{context.loop, context.metrics, health(), *relay}, config, facts, std::move(hooks));
  }

  void on_intercepting(const Interception::Listeners& bound) {
    life().reach(Event::kIntercepting);
    captured = bound;
    on_registrable();
  }

  // Without a control plane nobody is told anything, and nobody is registered. An unhealthy program is, as such.
  void on_registrable() {
    if (!life().reached(Event::kIntercepting) || !life().reached(Event::kControlPlaneConnected)) return;
    if (relay->status().connected) snapshot->on_confirmed();
    registration->intercepted(captured.ipv4, captured.ipv6);
  }

  // --- the way back ------------------------------------------------------------------------------------------------

  void leave(std::chrono::seconds drain, std::function<void(Status)> done) {
    if (std::exchange(ending, true))
      return done(Error(Code::kAborted, "HWS-MB-003", "this host is leaving already", "hawser status"));
    timer.reset();
    life().lose(Event::kRegistered, "leaving");
    leaving = "withdrawn; serving on until callers have heard of it";
    const auto go = [self = shared_from_this(), drain, done = std::move(done)] { self->take_out(drain, done); };
    if (!registration) return go();
    registration->withdraw(config.workload.withdraw_wait, go);
  }

  // New connections go direct at once, old ones drain through the proxy; so both happen side by side.
  void take_out(std::chrono::seconds drain, std::function<void(Status)> done) {
    leaving = "open connections drain; rules and proxy are being removed";
    auto self = shared_from_this();
    auto failure = std::make_shared<Status>();
    auto waiting = std::make_shared<int>(1);
    const auto step = [self, failure, waiting, done = std::move(done)](const Status& status) {
      if (!status && *failure) *failure = status;
      if (--*waiting > 0) return;
      self->life().lose(Event::kProxyReady, "leaving");
      self->close(true, [self, failure, done] { done(*failure); });
    };
    if (interception) {
      ++*waiting;
      interception->remove(step);
    }
    if (proxy) {
      ++*waiting;
      proxy->supervisor().stop(drain, step);
    }
    step({});
  }

  void close(bool erase, std::function<void()> done) {
    auto self = shared_from_this();
    const auto rest = [self, erase, done = std::move(done)] {
      if (self->sds) self->sds->shutdown();
      if (self->grpc) self->grpc->stop();
      self->identity->stop();
      self->trust->stop();
      if (self->renewals) self->renewals->close();
      if (self->http) self->http->stop();
      if (!erase) return done();
      if (auto erased = self->identity->erase(); !erased)
        log::error("identity couldn't be erased: " + erased.error().to_string());
      if (auto erased = self->trust->erase(); !erased) log::error(erased.error().to_string());
      self->life().lose(Event::kConfigured, "left");
      if (self->proxy) self->proxy->forget();
      MeshProxy::forget(self->context.slow, self->context.state_dir);
      self->identity->remove_exports([self, done](const Status& removed) {
        if (!removed) log::error(removed.error().to_string());
        self->snapshot->erase([self, done](const Status& erased) {
          if (!erased) log::error(erased.error().to_string());
          self->lease->release(done);
        });
      });
    };
    if (!relay) return rest();
    relay->stop(rest);
  }

  // Unlike a restart of hawserd this ends what callers are connected to: they hear of it first.
  void shut_down(std::function<void()> done) {
    if (std::exchange(ending, true)) return done();
    timer.reset();
    take_down(registration.get(), proxy.get(), config,
              [self = shared_from_this(), done = std::move(done)] { self->let_go(done); });
  }

  void let_go(std::function<void()> done) {
    timer.reset();
    if (registration) registration->stop();
    if (interception) interception->stop();
    auto self = shared_from_this();
    // The broker is to know that this is no crash; what it answers holds nothing up for long.
    const auto waiting = std::make_shared<int>(2);
    const auto step = [self, waiting, done = std::move(done)] {
      if (--*waiting == 0) done();
    };
    if (lease)
      lease->release(step);
    else
      step();
    close(false, step);
  }

  // --- what is told ------------------------------------------------------------------------------------------------
  void renew(std::function<void(Status)> done) {
    identity->renew([self = shared_from_this(), done = std::move(done)](const Status& renewed) {
      if (!renewed) return done(renewed);
      if (!self->renewals)
        self->renewals =
            std::make_unique<RenewalWaiters>(self->context.loop, [raw = self.get()] { return raw->in_force(); });
      self->renewals->wait(done);
    });
  }

  // Envoy has taken the newest certificate; without a proxy there's nobody to wait for.
  bool in_force() const {
    return ending || !proxy || !proxy->supervisor().live() || sds->presented().serial == identity->current()->serial;
  }

  Result<json> certificate() const { return identity->describe(sds ? sds->presented().serial : std::string()); }
};

Membership::Membership(Context context, config::Config config)
    : impl_(std::make_shared<Impl>(std::move(context), std::move(config))) {}
Membership::~Membership() {
  impl_->ending = true;
}
Status Membership::start(const std::string& token, bool joining) {
  return impl_->start({token, joining});
}
void Membership::leave(std::chrono::seconds drain, std::function<void(Status)> done) {
  impl_->leave(drain, std::move(done));
}
void Membership::stop(std::function<void()> done) {
  if (std::exchange(impl_->ending, true)) return done();
  impl_->let_go(std::move(done));
}
std::chrono::seconds Membership::shutdown_bound() const {
  return take_down_bound(impl_->config);
}
void Membership::shut_down(std::function<void()> done) {
  impl_->shut_down(std::move(done));
}
void Membership::renew(std::function<void(Status)> done) {
  impl_->renew(std::move(done));
}
void Membership::prove(const std::string& token, std::function<void(Status)> done) {
  impl_->identity->prove(token, std::move(done));
}
MeshProxy* Membership::proxy() const {
  return impl_->ending ? nullptr : impl_->proxy.get();
}
Interception* Membership::interception() const {
  return impl_->ending ? nullptr : impl_->interception.get();
}
const HostFacts& Membership::facts() const {
  return impl_->facts;
}
Trust& Membership::trust() const {
  return *impl_->trust;
}
HostIdentity& Membership::identity() const {
  return *impl_->identity;
}
xds::Relay* Membership::relay() const {
  return impl_->ending ? nullptr : impl_->relay.get();
}
Result<std::string> Membership::program_bootstrap() const {
  if (impl_->facts.addresses.empty())
    return Error(Code::kFailedPrecondition, "HWS-MB-004", "the host's address isn't known yet", "hawser status");
  return hawser::program_bootstrap(impl_->config, impl_->facts, impl_->context.run_dir);
}
void Membership::describe(json& status) const {
  const Impl& m = *impl_;
  if (auto cert = m.certificate()) status["identity"] = *cert;
  if (m.relay) status["control_plane"] = control_plane_json(m.relay->status(), m.config.control_plane.address.text());
  if (m.snapshot) status["snapshot"] = m.snapshot->describe();
  if (m.proxy) status["drain"] = m.proxy->drain().describe();
  if (m.proxy) status["proxy"] = proxy_json(m.proxy->supervisor().status());
  status["interception"] = {{"state", m.interception ? m.interception->state() : "none"}};
  status["registration"] =
      m.registration ? m.registration->describe() : json{{"group", m.config.workload.group}, {"health", "unknown"}};
  if (!m.leaving.empty()) status["leaving"] = m.leaving;
}
Result<json> Membership::certificate() const {
  auto out = impl_->certificate();
  if (out) add_bundles(*out, *impl_->identity->current());
  if (out) (*out)["source"] = ca_type(impl_->config);
  return out;
}
Result<json> Membership::xds_status() const {
  return relay_json(impl_->relay->status(), impl_->config.control_plane.address.text(), impl_->snapshot->describe());
}
void Membership::observe_interception(std::function<void(Result<json>)> done) {
  if (impl_->interception) return impl_->interception->observe(std::move(done));
  done(json{{"state", "none"}, {"counters", json::array()}, {"ruleset", ""}});
}

}  // namespace hawser
