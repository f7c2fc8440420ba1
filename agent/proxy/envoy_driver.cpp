// SPDX-License-Identifier: Apache-2.0
#include "proxy/envoy_driver.h"

#include <algorithm>

#include "base/log.h"
#include "proxy/proxy_words.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kMaxDetail = 400;

// A 200's body, or what went wrong.
Result<std::string> body_of(Result<AdminReply> reply, const std::string& what) {
  if (!reply) return reply.error();
  if (reply->status == 200) return std::move(reply->body);
  return Error(Code::kInternal, "HWS-PX-002",
               "the proxy's admin interface answered " + what + " with status " + std::to_string(reply->status));
}

std::string join(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const auto& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

// What the statistics of configuration tell: is the stream up, and did each type arrive or get refused?
std::string describe_stats(const std::map<std::string, std::uint64_t>& stats) {
  const auto value = [&stats](const char* name) {
    const auto found = stats.find(name);
    return found == stats.end() ? std::uint64_t{0} : found->second;
  };
  std::vector<std::string> parts;
  if (value("control_plane.connected_state") == 0) parts.emplace_back("it has no stream to the xDS relay");
  const auto add = [&](const char* what, const char* success, const char* rejected) {
    if (value(rejected) > 0)
      parts.push_back(std::string("it refused ") + what);
    else if (value(success) == 0)
      parts.push_back(std::string("no ") + what + " came yet");
  };
  add("clusters (CDS)", "cluster_manager.cds.update_success", "cluster_manager.cds.update_rejected");
  add("listeners (LDS)", "listener_manager.lds.update_success", "listener_manager.lds.update_rejected");
  return join(parts, ", ");
}

}  // namespace

struct EnvoyDriver::Impl : std::enable_shared_from_this<Impl> {
  Impl(AdminClient& client, Options o) : admin(client), options(std::move(o)) {}

  void look_further(const std::string& generation, ProbeResult seen, Done<ProbeResult> done) {
    live = seen;
    live_name = generation;
    admin.get(generation, "/ready",
              [weak = weak_from_this(), generation, seen = std::move(seen),
               done = std::move(done)](Result<AdminReply> reply) mutable {
                auto self = weak.lock();
                if (!self) return;
                if (!reply) return done(reply.error());
                seen.ready = reply->status == 200;
                self->list(generation, std::move(seen), std::move(done));
              });
  }

  void list(const std::string& generation, ProbeResult seen, Done<ProbeResult> done) {
    admin.get(
        generation, "/listeners?format=json",
        [weak = weak_from_this(), seen = std::move(seen), done = std::move(done)](Result<AdminReply> reply) mutable {
          auto self = weak.lock();
          if (!self) return;
          auto body = body_of(std::move(reply), "/listeners");
          if (!body) return done(body.error());
          auto listeners = parse_listeners(*body);
          if (!listeners) return done(listeners.error());
          seen.listeners = std::move(*listeners);
          self->check_bound(seen.listeners);
          done(std::move(seen));
        });
  }

  // Without an answer from the kernel Envoy's word stands.
  void check_bound(std::vector<Listener>& listeners) {
    if (listeners.empty()) return;
    const auto endpoints = options.listening();
    if (!endpoints) return log::debug("can't list listening sockets", {{"error", endpoints.error().to_string()}});
    for (auto& listener : listeners)
      listener.bound = std::find(endpoints->begin(), endpoints->end(),
                                 ListeningEndpoint{listener.address, listener.port}) != endpoints->end();
  }

  // One question after the other, each with its own understanding.
  struct Look {
    std::string generation;
    Done<Inspection> done;
    Inspection seen;
    std::size_t step = 0;
  };
  struct Question {
    const char* target;
    std::function<Status(const std::string& body, Inspection& seen)> understand;
  };

  static const std::vector<Question>& questions() {
    const auto unshared = [](const std::string& body, Inspection& seen) -> Status {
      auto found = parse_unshared(body);
      if (!found) return found.error();
      if (seen.unshared.empty()) seen.unshared = *found;
      return {};
    };
    static const std::vector<Question> all{
        {"/config_dump?resource=static_listeners", unshared},
        {"/config_dump?resource=dynamic_listeners", unshared},
        {"/hot_restart_version",
         [](const std::string& body, Inspection& seen) -> Status {
           seen.hot_restart_version = body.substr(0, body.find_first_not_of("0123456789."));
           return {};
         }},
        {"/certs",
         [](const std::string& body, Inspection& seen) -> Status {
           const auto certificates = parse_certs(body);
           if (!certificates) return certificates.error();
           seen.certificates = certificates->size();
           seen.expired = expired_among(*certificates, std::chrono::system_clock::now());
           return {};
         }},
        {"/stats?filter=%5Elistener_manager.workers_started%24",
         [](const std::string& body, Inspection& seen) -> Status {
           const auto stats = parse_stats(body);
           const auto found = stats.find("listener_manager.workers_started");
           seen.workers = found != stats.end() && found->second == 1;
           return {};
         }},
    };
    return all;
  }

  void look_next(const std::shared_ptr<Look>& look) {
    if (look->step == questions().size()) return look->done(look->seen);
    const Question& question = questions()[look->step++];
    admin.get(look->generation, question.target, [weak = weak_from_this(), look, &question](Result<AdminReply> reply) {
      auto self = weak.lock();
      if (!self) return;
      auto body = body_of(std::move(reply), question.target);
      if (!body) return look->done(body.error());
      if (auto understood = question.understand(*body, look->seen); !understood) return look->done(understood.error());
      self->look_next(look);
    });
  }

  void diagnose_rest(const std::string& generation, std::string known, std::function<void(std::string)> done) {
    admin.get(generation, "/init_dump",
              [weak = weak_from_this(), generation, known = std::move(known),
               done = std::move(done)](Result<AdminReply> reply) mutable {
                auto self = weak.lock();
                if (!self) return;
                if (reply && reply->status == 200)
                  if (const auto targets = parse_init_dump(reply->body); !targets.empty())
                    known += (known.empty() ? "it waits for " : ", it waits for ") + join(targets, ", ");
                self->diagnose_listeners(generation, std::move(known), std::move(done));
              });
  }

  void diagnose_listeners(const std::string& generation, std::string known, std::function<void(std::string)> done) {
    admin.get(generation, "/config_dump?resource=dynamic_listeners",
              [known = std::move(known), done = std::move(done)](const Result<AdminReply>& reply) mutable {
                if (reply && reply->status == 200)
                  for (const auto& [name, details] : parse_listener_errors(reply->body))
                    known += (known.empty() ? "" : ", ") + ("listener " + name + ": " + details);
                done(known.substr(0, kMaxDetail));
              });
  }

  AdminClient& admin;
  Options options;
  // What the last one that was LIVE told of itself.
  ProbeResult live;
  std::string live_name;
};

EnvoyDriver::EnvoyDriver(AdminClient& admin, Options options)
    : impl_(std::make_shared<Impl>(admin, std::move(options))) {}
EnvoyDriver::~EnvoyDriver() = default;

Capabilities EnvoyDriver::capabilities() const {
  Capabilities out;
  out.hot_restart = out.side_by_side = out.drain = out.connection_count = true;
  out.waits_for_listeners = true;  // initial_fetch_timeout is 0 s
  out.worker_request = impl_->options.workers != nullptr;
  out.data_path_probe = static_cast<bool>(impl_->options.data_path);
  out.flush_mark = true;
  out.stand_in = static_cast<bool>(impl_->options.stand_in);
  return out;
}

std::vector<std::string> EnvoyDriver::args(unsigned workers) const {
  // Immediate: after a change of a listener, connections that follow the old rules (an allow-list, mTLS) are closed at
  // their next response instead of over the whole drain time.
  const auto drain = std::max<std::int64_t>(impl_->options.drain.count(), 1);
  const auto parent = std::max<std::int64_t>(impl_->options.parent_shutdown.count(), drain + 1);
  std::vector<std::string> out{
      "--log-level",    impl_->options.log_level, "--drain-strategy",         "immediate",
      "--drain-time-s", std::to_string(drain),    "--parent-shutdown-time-s", std::to_string(parent)};
  if (impl_->options.json_log) {
    // By the bootstrap four lines of five would stay plain.
    out.emplace_back("--log-format");
    out.emplace_back(kJsonLogFormat);
  }
  const unsigned concurrency = std::max(impl_->options.concurrency, workers);
  if (concurrency > 0) {
    out.emplace_back("--concurrency");
    out.push_back(std::to_string(concurrency));
  }
  return out;
}

void EnvoyDriver::probe(const std::string& generation, Done<ProbeResult> done) {
  impl_->admin.get(generation, "/server_info",
                   [weak = std::weak_ptr(impl_), generation, done = std::move(done)](Result<AdminReply> reply) mutable {
                     auto self = weak.lock();
                     if (!self) return;
                     auto body = body_of(std::move(reply), "/server_info");
                     if (!body) return done(body.error());
                     auto seen = parse_server_info(*body);
                     if (!seen || seen->state != ProxyState::kLive) return done(std::move(seen));
                     self->look_further(generation, std::move(*seen), std::move(done));
                   });
}

// /server_info comes with a list of all extensions: 200 KB of JSON, which once a second is most of an idle agent's CPU.
// Only a LIVE proxy answers /ready with 200.
void EnvoyDriver::watch(const std::string& generation, Done<ProbeResult> done) {
  if (impl_->live_name != generation) return probe(generation, std::move(done));
  impl_->admin.get(
      generation, "/ready",
      [this, weak = std::weak_ptr(impl_), generation, done = std::move(done)](Result<AdminReply> reply) mutable {
        auto self = weak.lock();
        if (!self) return;
        if (!reply) return done(reply.error());
        if (reply->status != 200) return probe(generation, std::move(done));
        ProbeResult seen = self->live;
        seen.ready = true;
        self->list(generation, std::move(seen), std::move(done));
      });
}

void EnvoyDriver::diagnose(const std::string& generation, std::function<void(std::string)> done) {
  const std::string filter =
      R"(^(cluster_manager\.cds|listener_manager\.lds)\.update_(success|rejected)$|^control_plane\.connected_state$)";
  impl_->admin.get(
      generation, "/stats?filter=" + AdminClient::encode(filter),
      [weak = std::weak_ptr(impl_), generation, done = std::move(done)](const Result<AdminReply>& reply) mutable {
        auto self = weak.lock();
        if (!self) return;
        if (!reply) return done(reply.error().message());
        self->diagnose_rest(generation, describe_stats(parse_stats(reply->body)), std::move(done));
      });
}

void EnvoyDriver::inspect(const std::string& generation, Done<Inspection> done) {
  auto look = std::make_shared<Impl::Look>();
  look->generation = generation;
  look->done = std::move(done);
  impl_->look_next(look);
}

void EnvoyDriver::begin_drain(const std::string& generation, DrainKind kind, std::function<void(Status)> done) {
  const std::string target =
      kind == DrainKind::kClosing ? "/drain_listeners?graceful" : "/drain_listeners?graceful&skip_exit";
  impl_->admin.post(generation, target, [done = std::move(done)](Result<AdminReply> reply) {
    const auto body = body_of(std::move(reply), "/drain_listeners");
    done(body ? Status() : Status(body.error()));
  });
}

void EnvoyDriver::drain_inbound(const std::string& generation, std::function<void(Status)> done) {
  impl_->admin.post(generation, "/drain_listeners?inboundonly&graceful",
                    [done = std::move(done)](Result<AdminReply> reply) {
                      const auto body = body_of(std::move(reply), "/drain_listeners");
                      done(body ? Status() : Status(body.error()));
                    });
}

void EnvoyDriver::connections(const std::string& generation, Done<std::vector<ListenerConnections>> done) {
  impl_->admin.get(generation, "/stats?usedonly&filter=" + AdminClient::encode("downstream_cx_active$"),
                   [weak = std::weak_ptr(impl_), done = std::move(done)](Result<AdminReply> reply) {
                     auto self = weak.lock();
                     if (!self) return;
                     const auto body = body_of(std::move(reply), "/stats");
                     if (!body) return done(body.error());
                     done(connections_by_listener(parse_stats(*body), self->options.uncounted_ports));
                   });
}

void EnvoyDriver::count_connections(const std::string& generation, Done<std::uint64_t> done) {
  connections(generation, [done = std::move(done)](const Result<std::vector<ListenerConnections>>& seen) {
    if (!seen) return done(seen.error());
    done(sum_connections(*seen));
  });
}

void EnvoyDriver::ask_worker(const std::string& generation, std::function<void(Status)> done) {
  if (impl_->options.workers == nullptr)
    return done(Error(Code::kUnimplemented, "HWS-PX-041", "the proxy's workers can't be asked one by one"));
  impl_->options.workers->get(generation, "/", [generation, done = std::move(done)](const Result<AdminReply>& reply) {
    if (!reply) return done(Error(reply.error().code(), "HWS-PX-041", reply.error().message()));
    if (reply->status == 200 && reply->body == generation) return done({});
    done(Error(
        Code::kInternal, "HWS-PX-041",
        "its own listener answered with status " + std::to_string(reply->status) + ": " + reply->body.substr(0, 40)));
  });
}

void EnvoyDriver::probe_data(const std::string&, std::function<void(Status)> done) {
  if (!impl_->options.data_path) return done({});
  impl_->options.data_path([weak = std::weak_ptr(impl_), done = std::move(done)](Status result) {
    if (!weak.expired()) done(std::move(result));
  });
}

void EnvoyDriver::scrape(const std::string& generation, Done<std::string> done) {
  impl_->admin.get(generation, "/stats/prometheus", [done = std::move(done)](Result<AdminReply> reply) {
    done(body_of(std::move(reply), "/stats/prometheus"));
  });
}

// Set at each flush, and at no other time.
void EnvoyDriver::flush_mark(const std::string& generation, Done<std::uint64_t> done) {
  constexpr auto kStat = "server.uptime";
  impl_->admin.get(generation, "/stats?filter=" + AdminClient::encode(R"(^server\.uptime$)"),
                   [done = std::move(done)](Result<AdminReply> reply) {
                     const auto body = body_of(std::move(reply), "/stats");
                     if (!body) return done(body.error());
                     const auto stats = parse_stats(*body);
                     const auto found = stats.find(kStat);
                     if (found != stats.end()) return done(found->second);
                     done(Error(Code::kInternal, "HWS-PX-002", std::string("the proxy doesn't tell its ") + kStat));
                   });
}

std::unique_ptr<StandIn> EnvoyDriver::stand_in(const std::string& generation) {
  const auto id = generation_id(generation);
  if (!id || id->epoch == 0 || !impl_->options.stand_in) return nullptr;
  auto opened = impl_->options.stand_in(*id);
  if (opened) return std::move(*opened);
  log::debug("nobody stands in for a predecessor", {{"generation", generation}, {"cause", opened.error().to_string()}});
  return nullptr;
}

std::vector<Listener> EnvoyDriver::listening(const std::vector<std::uint16_t>& ports) const {
  std::vector<Listener> out;
  const auto endpoints = impl_->options.listening();
  if (!endpoints) return out;
  for (const auto& endpoint : *endpoints)
    if (std::find(ports.begin(), ports.end(), endpoint.port) != ports.end())
      out.push_back({"", endpoint.address, endpoint.port, true});
  return out;
}

void EnvoyDriver::ask(const std::string& generation, const std::string& target, AdminClient::Done done) {
  impl_->admin.get(generation, target, std::move(done));
}

void EnvoyDriver::certificates(const std::string& generation, Done<std::vector<CertificateInUse>> done) {
  impl_->admin.get(generation, "/certs", [done = std::move(done)](Result<AdminReply> reply) {
    const auto body = body_of(std::move(reply), "/certs");
    if (!body) return done(body.error());
    done(parse_certs(*body));
  });
}

}  // namespace hawser::proxy
