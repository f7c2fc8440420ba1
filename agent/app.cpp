// SPDX-License-Identifier: Apache-2.0
#include "app.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "admin.h"
#include "base/log.h"
#include "base/service_notify.h"
#include "host_identity.h"
#include "identity_report.h"
#include "interception.h"
#include "interception_options.h"
#include "lifecycle.h"
#include "membership.h"
#include "mesh_proxy.h"
#include "relay_jobs.h"
#include "status/health_items.h"
#include "status/time_text.h"
#include "status_line.h"
#include "trust.h"

namespace hawser {
namespace {

using nlohmann::json;

constexpr auto kMaxWait = std::chrono::hours(1);

Error not_joined() {
  return {Code::kFailedPrecondition, "HWS-AD-003", "this host is not joined", "hawser join DIR"};
}

json events_json(const Lifecycle& lifecycle) {
  json events = json::array();
  for (const auto& item : lifecycle.history()) {
    json event = {{"name", event_name(item.event)},
                  {"at", status::utc_text(item.at)},
                  {"since_start_ms", std::chrono::duration_cast<std::chrono::milliseconds>(item.since_start).count()}};
    if (!item.passed_over.empty()) event["passed_over"] = item.passed_over;
    events.push_back(std::move(event));
  }
  return events;
}

}  // namespace

struct App::Impl {
  AsioLoop& loop;
  AppOptions options;
  Metrics metrics;
  ThreadWorker slow;
  status::HealthItems health;
  Lifecycle lifecycle;
  StatusLine status_line;
  WatchedHealth watched;
  std::optional<Watchdog> watchdog;
  config::Config config;
  std::unique_ptr<AdminServer> admin;
  std::unique_ptr<Membership> membership;
  bool leaving = false;

  Impl(AsioLoop& l, AppOptions o)
      : loop(l),
        options(std::move(o)),
        health(l, metrics),
        lifecycle(l, metrics),
        status_line(
            l, [this] { return summary(); }, notify_status),
        watched(health, [this] { status_line.changed(); }) {
    lifecycle.on_change([this] { status_line.changed(); });
  }

  Status open_admin() {
    auto group = config::resolve_group(config.users.admin_group);
    if (!group) log::warn("only root may change things: " + group.error().message());
    auto socket = listen_unix("admin", options.run_dir + "/admin.sock", 0666);
    if (!socket) return socket.error();
    AdminServer::Operations operations;
    operations.status = [this] { return status_json().dump(); };
    operations.join = [this](std::string token, AdminServer::Done done) { done(join(token)); };
    operations.leave = [this](unsigned drain, const AdminServer::Done& done) {
      leave(std::chrono::seconds(drain), done);
    };
    operations.cert_show = [this]() -> Result<std::string> { return cert_show(); };
    operations.cert_renew = [this](const AdminServer::Done& done) { cert_renew(done); };
    operations.identity_prove = [this](const std::string& token, const AdminServer::Done& done) {
      identity_prove(token, done);
    };
    operations.wait = [this](const std::string& event, std::chrono::milliseconds timeout,
                             const AdminServer::Done& done) { wait(event, timeout, done); };
    operations.intercept_show = [this](const AdminServer::Done& done) { intercept_show(done); };
    operations.intercept_apply = [this](std::chrono::seconds revert, const std::string& ssh_connection, bool takeover,
                                        const AdminServer::Done& done) {
      intercept_apply(revert, ssh_connection, takeover, done);
    };
    operations.intercept_confirm = [this](const AdminServer::Done& done) {
      with_interception(done, [&](Interception& interception) { interception.confirm_tried(as_text(done)); });
    };
    operations.intercept_drain = [this](std::chrono::seconds time, const AdminServer::Done& done) {
      with_interception(done, [&](Interception& interception) { interception.drain(time, as_text(done)); });
    };
    operations.proxy_job = [this](const ProxyJob& job, const AdminServer::Done& done) {
      if (!membership) return done(not_joined());
      run_proxy_job(*membership, job, done);
    };
    operations.events = [this](std::uint64_t after_history, std::uint64_t after_health) -> Result<std::string> {
      return events(after_history, after_health);
    };
    operations.relay_job = [this](const RelayJob& job, const AdminServer::Done& done) {
      if (!membership) return done(not_joined());
      run_relay_job(*membership, job, done);
    };
    operations.xds_status = [this] { return xds_status(); };
    operations.trust_show = [this]() -> Result<std::string> {
      if (!membership) return not_joined();
      return as_line(membership->trust().describe());
    };
    operations.trust_change = [this](const std::string& sha256, bool allow) -> Result<std::string> {
      if (!membership) return not_joined();
      auto changed = allow ? membership->trust().allow(sha256) : membership->trust().drop(sha256);
      if (!changed) return changed.error();
      return as_line(membership->trust().describe());
    };
    operations.identity_show = [this](const AdminServer::Done& done) {
      if (!membership) return done(not_joined());
      report_identity({loop, slow, options.state_dir}, config, membership->identity(), as_text(done));
    };
    operations.identity_reset = [this](const std::string& token, bool force, const AdminServer::Done& done) {
      identity_reset(token, force, done);
    };
    // gid 0 is root's own group: with no admin group nobody else is let in
    admin = std::make_unique<AdminServer>(loop, std::move(*socket), std::move(operations), group ? *group : 0);
    admin->start();
    return {};
  }

  Status begin(const std::string& token, bool joining) {
    lifecycle.restart();
    membership = std::make_unique<Membership>(
        Membership::Context{loop, slow, metrics, watched, lifecycle, options.run_dir, options.state_dir}, config);
    auto started = membership->start(token, joining);
    if (!started) membership.reset();
    return started;
  }

  Result<std::string> join(const std::string& token) {
    if (membership)
      return Error(Code::kAlreadyExists, "HWS-AD-004", "this host is joined already",
                   "hawser leave first, or hawser status");
    auto loaded = config::load(options.paths);
    if (!loaded.errors.empty()) return loaded.errors.front();
    if (!loaded.config.joined()) return not_joined();
    config = std::move(loaded.config);
    if (auto begun = begin(token, true); !begun) return begun.error();
    return std::string("{}");
  }

  void leave(std::chrono::seconds drain, const AdminServer::Done& done) {
    if (!membership || leaving) return done(not_joined());
    leaving = true;
    membership->leave(drain, [this, done](const Status& left) {
      leaving = false;
      if (!left) return done(left.error());
      membership.reset();
      health.clear();
      config = config::Config{};
      status_line.changed();
      log::info("left the mesh");
      done(std::string("{}"));
    });
  }

  Result<std::string> cert_show() {
    if (!membership) return not_joined();
    auto certificate = membership->certificate();
    if (!certificate) return certificate.error();
    return certificate->dump();
  }

  Result<std::string> xds_status() {
    if (!membership) return not_joined();
    auto status = membership->xds_status();
    if (!status) return status.error();
    return status->dump(-1, ' ', false, json::error_handler_t::replace);
  }

  void cert_renew(const AdminServer::Done& done) {
    if (!membership) return done(not_joined());
    membership->renew([this, done](const Status& renewed) {
      if (!renewed) return done(renewed.error());
      done(cert_show());
    });
  }

  void identity_prove(const std::string& token, const AdminServer::Done& done) {
    if (!membership) return done(not_joined());
    membership->prove(token, [this, done](const Status& proved) {
      if (!proved) return done(proved.error());
      done(cert_show());
    });
  }

  Result<std::string> events(std::uint64_t after_history, std::uint64_t after_health) {
    json out = {{"schema_version", 1}, {"health", json::parse(health.transitions_json(after_health), nullptr, false)}};
    out["proxy"] = json::array();
    MeshProxy* proxy = membership ? membership->proxy() : nullptr;
    if (proxy == nullptr) return as_line(out);
    out["last_history"] = proxy->history().last();
    for (const auto& entry : proxy->history().after(after_history)) out["proxy"].push_back(entry_json(entry));
    return as_line(out);
  }

  void wait(const std::string& name, std::chrono::milliseconds timeout, const AdminServer::Done& done) {
    auto event = event_of(name);
    if (!event)
      return done(Error(Code::kInvalidArgument, "HWS-AD-002", "'" + name + "' is no start-up event",
                        "one of CONFIGURED … REGISTERED"));
    lifecycle.wait(*event, std::min<Loop::Duration>(timeout, kMaxWait), [this, name, done](bool reached) {
      if (reached) return done(std::string("{}"));
      done(Error(Code::kDeadlineExceeded, "HWS-AD-005", name + " wasn't reached in time: " + summary(),
                 "hawser status"));
    });
  }

  // What is held of the mesh stays: rules, proxy and registration carry the host as over a restart of ours.
  void identity_reset(const std::string& token, bool force, const AdminServer::Done& done) {
    if (!membership || leaving) return done(not_joined());
    auto could = may_reset(config, membership->identity(), token, force, loop.wall());
    if (!could) return done(could.error());
    leaving = true;
    membership->stop([this, token, done] {
      // Behind whatever is still being written.
      slow.submit([this, token, done] {
        auto erased = membership->identity().erase();
        loop.post([this, token, done, erased] { begin_again(token, erased, done); });
      });
    });
  }

  void begin_again(const std::string& token, const Status& erased, const AdminServer::Done& done) {
    leaving = false;
    membership.reset();
    if (auto begun = begin(token, true); !begun) return done(begun.error());
    if (!erased) return done(erased.error());
    log::warn("the identity was reset, by the operator's word");
    done(std::string("{}"));
  }

  static std::string as_line(const json& document) {
    return document.dump(-1, ' ', false, json::error_handler_t::replace);
  }

  static Interception::Answer as_text(const AdminServer::Done& done) {
    return [done](const Result<json>& seen) {
      if (!seen) return done(seen.error());
      done(seen->dump(-1, ' ', false, json::error_handler_t::replace));
    };
  }

  void intercept_show(const AdminServer::Done& done) {
    if (!membership) return done(not_joined());
    membership->observe_interception(as_text(done));
  }

  template <typename Work>
  void with_interception(const AdminServer::Done& done, Work work) {
    if (!membership) return done(not_joined());
    Interception* interception = membership->interception();
    if (interception == nullptr)
      return done(Error(Code::kFailedPrecondition, "HWS-IC-005", "there is no proxy to lead traffic to yet",
                        "hawser status; wait for PROXY_READY"));
    work(*interception);
  }

  // Interception's settings alone: what else has changed on disk waits for a restart.
  void intercept_apply(std::chrono::seconds revert, const std::string& ssh_connection, bool takeover,
                       const AdminServer::Done& done) {
    auto loaded = config::load(options.paths);
    if (!loaded.errors.empty()) return done(loaded.errors.front());
    with_interception(done, [&](Interception& interception) {
      auto changed = config;
      changed.interception = loaded.config.interception;
      interception.apply_settings(
          {interception_options(changed, membership->facts()), revert, ssh_connection, takeover}, as_text(done));
    });
  }

  std::string state() const {
    if (!membership) return "not_joined";
    if (leaving) return "leaving";
    if (health.overall() == HealthState::kFailed) return "failed";
    if (!lifecycle.reached(Event::kRegistered))
      return health.overall() == HealthState::kDegraded ? "degraded" : "starting";
    return health.overall() == HealthState::kOk ? "ok" : "degraded";
  }

  // The first line of `hawser status`: am I fine, and if not, why.
  std::string summary() const {
    if (!membership) return "this host is not joined to a mesh; nothing on it is changed";
    const auto last = lifecycle.last();
    const std::string reached = last ? std::string(event_name(*last)) : "nothing yet";
    if (state() == "ok") return "this host is in the mesh as " + config.spiffe_id();
    const std::string worst = health.worst_line();
    return "reached " + reached + (worst.empty() ? "" : "; " + worst);
  }

  json status_json() const {
    json out = {{"schema_version", 1},
                {"version", HAWSER_VERSION},
                {"state", state()},
                {"summary", summary()},
                {"events", events_json(lifecycle)},
                {"items", json::parse(health.items_json(), nullptr, false)}};
    if (membership) membership->describe(out);
    return out;
  }
};

App::App(AsioLoop& loop, AppOptions options) : impl_(std::make_unique<Impl>(loop, std::move(options))) {}
App::~App() = default;

Status App::start(config::Config config) {
  impl_->config = std::move(config);
  if (auto opened = impl_->open_admin(); !opened) return opened;
  impl_->metrics.set("hawser_build_info", "Version of hawserd", {{"version", HAWSER_VERSION}}, 1);
  if (impl_->config.joined())
    if (auto begun = impl_->begin("", false); !begun) return begun;
  log::info(impl_->config.joined() ? "started" : "started; this host is not joined", {{"version", HAWSER_VERSION}});
  impl_->watchdog.emplace(impl_->loop);
  impl_->status_line.changed();
  // The sockets are served, and that's all: a boot must never wait for a control plane.
  notify_ready();
  return {};
}

std::chrono::seconds App::shutdown_bound() const {
  return impl_->membership ? impl_->membership->shutdown_bound() : std::chrono::seconds(0);
}

void App::stop(Ending ending, std::function<void()> done) {
  notify_stopping();
  if (!impl_->membership) return done();
  auto gone = [this, done = std::move(done)] {
    impl_->membership.reset();
    done();
  };
  if (ending == Ending::kMachine) return impl_->membership->shut_down(std::move(gone));
  impl_->membership->stop(std::move(gone));
}

}  // namespace hawser
