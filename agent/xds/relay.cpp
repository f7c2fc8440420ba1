// SPDX-License-Identifier: Apache-2.0
#include "xds/relay.h"

#include <future>
#include <thread>

#include "base/asio_loop.h"
#include "base/log.h"
#include "dial/dialler.h"
#include "xds/core.h"
#include "xds/downstream_stream.h"
#include "xds/mailbox.h"
#include "xds/wire.h"

namespace hawser::xds {
namespace {

constexpr char kPlaneItem[] = "control-plane";
constexpr char kProxyItem[] = "proxy-config";
constexpr char kCompatItem[] = "istio-extensions";

// The loop's half of the relay: what modules asked to be told, and the last status.
struct Front {
  HealthSink& health;
  std::function<Credentials()> credentials;
  std::function<Result<std::string>()> token;
  std::function<void(bool)> connected;
  std::function<void()> accepted;
  std::function<void(const Error&)> failed;
  Relay::Status status;
  dial::Dialler* dialler = nullptr;
};

// Carries what the core says to the loop, where it finds the front, or no longer.
class Herald final : public CoreObserver {
 public:
  Herald(Loop& loop, std::weak_ptr<Front> front) : loop_(loop), front_(std::move(front)) {}
  void set_mailbox(std::shared_ptr<Mailbox> mailbox) { mailbox_ = std::move(mailbox); }

  void need_material(UseMaterial use) override {
    tell([use = std::move(use), weak = front_, mailbox = mailbox_](Front& front) {
      const auto send = [use, weak, mailbox](Result<std::optional<dial::Route>> route) {
        const auto alive = weak.lock();
        if (!alive) return;
        Material material;
        if (alive->credentials) material.credentials = alive->credentials();
        if (alive->token) material.token = alive->token();
        material.route = std::move(route);
        material.elsewhere = alive->dialler != nullptr && alive->dialler->addresses() > 1;
        mailbox->post([use, material = std::move(material)](Core& core) { use(core, material); });
      };
      if (front.dialler == nullptr) return send(std::optional<dial::Route>());
      front.dialler->next([send](Result<dial::Route> route) {
        if (!route) return send(route.error());
        send(std::optional<dial::Route>(*route));
      });
    });
  }
  void on_route_tried(const dial::Route& route, const std::optional<Error>& error) override {
    tell([route, error](Front& front) {
      if (front.dialler != nullptr) front.dialler->tried(route, error);
    });
  }
  void on_status(Relay::Status status) override {
    tell([status = std::move(status)](Front& front) { front.status = status; });
  }
  void on_connection(bool connected, const std::string&) override {
    tell([connected](Front& front) {
      front.status.connected = connected;
      if (front.connected) front.connected(connected);
    });
  }
  void on_settled(const std::string& address) override {
    tell([address](Front& front) {
      front.health.report(kPlaneItem, HealthState::kOk, "connected to " + address, nullptr);
    });
  }
  void on_failure(const Error& error) override {
    tell([error](Front& front) {
      front.health.report(kPlaneItem, HealthState::kDegraded, error.message() + "; it keeps trying", &error);
      if (front.failed) front.failed(error);
    });
  }
  void on_compat(const std::string& detail, const std::optional<Error>& error) override {
    tell([detail, error](Front& front) {
      front.health.report(kCompatItem, error ? HealthState::kDegraded : HealthState::kOk, detail,
                          error ? &*error : nullptr);
    });
  }
  void on_proxy_answer(std::optional<Error> error) override {
    tell([error = std::move(error)](Front& front) {
      front.health.report(kProxyItem, error ? HealthState::kDegraded : HealthState::kOk,
                          error ? error->message() : "the proxy takes its configuration", error ? &*error : nullptr);
    });
  }
  void on_accepted() override {
    tell([](Front& front) {
      if (front.accepted) front.accepted();
    });
  }

 private:
  void tell(std::function<void(Front&)> work) {
    loop_.post([front = front_, work = std::move(work)] {
      if (const auto alive = front.lock()) work(*alive);
    });
  }

  Loop& loop_;
  std::weak_ptr<Front> front_;
  std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace

struct Relay::Impl {
  Impl(Loop& loop_in, Metrics& metrics, HealthSink& health, Options options)
      : loop(loop_in),
        front(std::make_shared<Front>(Front{health, {}, {}, {}, {}, {}, {}, nullptr})),
        herald(loop_in, front),
        core(strand, metrics, herald, options),
        mailbox(std::make_shared<Mailbox>(strand, core)),
        service(mailbox, RelayService::Clients::kProxies),
        program_service(mailbox, RelayService::Clients::kPrograms) {
    herald.set_mailbox(mailbox);
    thread = std::thread([this] { strand.run(); });
  }

  ~Impl() {
    // No reactor posts any more; what they posted before runs before this.
    mailbox->close();
    std::promise<void> done;
    strand.post([&] {
      core.abandon();
      done.set_value();
    });
    done.get_future().wait();
    strand.stop();
    thread.join();
  }

  Loop& loop;
  std::shared_ptr<Front> front;
  Herald herald;
  AsioLoop strand;
  Core core;
  std::shared_ptr<Mailbox> mailbox;
  RelayService service;
  RelayService program_service;
  std::thread thread;
};

Relay::Relay(Loop& loop, Metrics& metrics, HealthSink& health, Options options)
    : impl_(std::make_unique<Impl>(loop, metrics, health, options)) {}

Relay::~Relay() = default;

void Relay::start(std::string node, UpstreamOptions upstream, std::function<Credentials()> credentials,
                  std::function<Result<std::string>()> token) {
  impl_->front->credentials = std::move(credentials);
  impl_->front->token = std::move(token);
  impl_->front->health.report(kPlaneItem, HealthState::kStarting, "connecting to " + upstream.dial_target, nullptr);
  const auto weak = std::weak_ptr<Mailbox>(impl_->mailbox);
  const auto post = [weak](std::function<void(Core&)> work) {
    if (const auto mailbox = weak.lock()) mailbox->post(std::move(work));
  };
  Core::Posts posts;
  posts.upstream = [post](std::function<void(Upstream&)> work) {
    post([work = std::move(work)](Core& core) {
      if (core.upstream() != nullptr) work(*core.upstream());
    });
  };
  posts.sotw = [post](std::function<void(SotwSessions&)> work) {
    post([work = std::move(work)](Core& core) { work(core.sotw()); });
  };
  posts.debug = [post](std::function<void(DebugQueries&)> work) {
    post([work = std::move(work)](Core& core) { work(core.debug()); });
  };
  impl_->mailbox->post([node = std::move(node), upstream = std::move(upstream), posts = std::move(posts)](Core& core) {
    core.start(node, upstream, posts);
  });
}

void Relay::stop(std::function<void()> done) {
  auto& loop = impl_->loop;
  impl_->mailbox->post([&loop, done = std::move(done)](Core& core) { core.stop([&loop, done] { loop.post(done); }); });
}

grpc::CallbackGenericService* Relay::service() {
  return &impl_->service;
}

grpc::CallbackGenericService* Relay::program_service() {
  return &impl_->program_service;
}

void Relay::permit(HostPermits permits) {
  impl_->mailbox->post([permits = std::move(permits)](Core& core) { core.permit(permits); });
}

void Relay::set_serving(std::string generation) {
  impl_->mailbox->post([generation = std::move(generation)](Core& core) { core.set_serving(generation); });
}

void Relay::report_health(bool healthy, std::string message) {
  std::optional<std::string> detail;
  if (!healthy) detail = make_error_detail(static_cast<int>(Code::kInternal), message);
  impl_->mailbox->post([detail = std::move(detail)](Core& core) { core.set_health(detail); });
}

void Relay::reconnect(const std::string& reason) {
  impl_->mailbox->post([reason](Core& core) { core.reconnect(reason); });
}

void Relay::restore(std::vector<snapshot::records::Type> types, std::function<void(bool)> done) {
  auto& loop = impl_->loop;
  // By pointer: the mailbox's functions are copied.
  auto held = std::make_shared<std::vector<snapshot::records::Type>>(std::move(types));
  impl_->mailbox->post([&loop, held, weak = std::weak_ptr<Front>(impl_->front), done = std::move(done)](Core& core) {
    const bool restored = core.restore(std::move(*held));
    loop.post([weak, done, restored] {
      if (weak.lock()) done(restored);
    });
  });
}

void Relay::on_accepted(std::function<void()> callback) {
  impl_->front->accepted = std::move(callback);
}

void Relay::accepted(std::map<std::string, std::uint64_t> known, std::function<void(Accepted)> callback) const {
  auto& loop = impl_->loop;
  impl_->mailbox->post([&loop, known = std::move(known), weak = std::weak_ptr<Front>(impl_->front),
                        callback = std::move(callback)](Core& core) {
    auto accepted = std::make_shared<Accepted>(core.accepted(known));
    loop.post([weak, callback, accepted] {
      if (weak.lock()) callback(std::move(*accepted));
    });
  });
}

void Relay::hold(std::string generation, Hold::What what, Loop::Duration limit, std::string reason,
                 std::function<void(Result<std::size_t>)> done, Hold::By by) {
  Hold hold{std::move(generation), what, std::move(reason), {}, by};
  impl_->mailbox->post([&loop = impl_->loop, &strand = impl_->strand, limit, hold = std::move(hold),
                        done = std::move(done)](Core& core) {
    Hold timed = hold;
    timed.until = strand.now() + limit;
    loop.post([done, answer = core.hold(std::move(timed))] { done(answer); });
  });
}

void Relay::release(std::string generation, std::function<void(hawser::Status)> done, Hold::By by) {
  impl_->mailbox->post([&loop = impl_->loop, generation = std::move(generation), by, done = std::move(done)](
                           Core& core) { loop.post([done, answer = core.release(generation, by)] { done(answer); }); });
}

void Relay::outlook(std::function<void(Outlook)> done) const {
  impl_->mailbox->post(
      [&loop = impl_->loop, weak = std::weak_ptr<Front>(impl_->front), done = std::move(done)](Core& core) {
        loop.post([weak, done, seen = core.outlook()] {
          if (weak.lock()) done(seen);
        });
      });
}

void Relay::debug(DebugQuestion question, std::chrono::milliseconds timeout,
                  std::function<void(Result<std::string>)> done) {
  impl_->mailbox->post(
      [&loop = impl_->loop, question = std::move(question), timeout, done = std::move(done)](Core& core) {
        core.debug().ask(question, timeout, [&loop, done](Result<std::string> answer) {
          loop.post([done, answer = std::move(answer)] { done(answer); });
        });
      });
}

void Relay::move(const std::string& reason) {
  impl_->mailbox->post([reason](Core& core) { core.move(reason); });
}

void Relay::set_dialler(dial::Dialler& dialler) {
  impl_->front->dialler = &dialler;
  dialler.on_better([mailbox = std::weak_ptr<Mailbox>(impl_->mailbox)](const std::string& reason) {
    if (const auto alive = mailbox.lock()) alive->post([reason](Core& core) { core.move(reason); });
  });
}

void Relay::names(const std::string& type_url, std::function<void(std::vector<std::string>)> callback) const {
  auto& loop = impl_->loop;
  impl_->mailbox->post(
      [&loop, type_url, weak = std::weak_ptr<Front>(impl_->front), callback = std::move(callback)](Core& core) {
        loop.post([weak, callback, names = core.cache().names(type_url)] {
          if (weak.lock()) callback(names);
        });
      });
}

void Relay::on_connected(std::function<void(bool connected)> callback) {
  impl_->front->connected = std::move(callback);
}

void Relay::on_failed(std::function<void(const Error&)> callback) {
  impl_->front->failed = std::move(callback);
}

Relay::Status Relay::status() const {
  return impl_->front->status;
}

}  // namespace hawser::xds
