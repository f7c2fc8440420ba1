// SPDX-License-Identifier: Apache-2.0
#include "proxy/broker_host.h"

#include "hawser/broker.pb.h"
#include "proxy/proxy_words.h"

namespace hawser::proxy {
namespace {

namespace v1 = broker::v1;

constexpr auto kQuick = std::chrono::seconds(5);
// Envoy itself takes under 0.1 s; the first use of a binary reads and hashes 107 MB.
constexpr auto kValidate = std::chrono::seconds(30);
constexpr auto kStart = std::chrono::seconds(30);

Error unexpected_answer(const char* what) {
  return {Code::kInternal, "HWS-PX-009", std::string("the broker's answer to ") + what + " is of another kind",
          "are hawserd and hawser-broker of the same version?"};
}

HostPermits permits_in(const v1::ObserveResponse& seen) {
  HostPermits out;
  out.next = permits_of(seen.proxy_permits());
  for (const auto& generation : seen.generations())
    if (generation.running()) out.running[generation.name()] = permits_of(generation.permits());
  return out;
}

}  // namespace

BrokerHost::BrokerHost(broker::BrokerClient& client, Permitted permitted)
    : BrokerHost([&client](const v1::Request& request, std::chrono::milliseconds timeout,
                           broker::BrokerClient::Done done) { client.call(request, timeout, std::move(done)); },
                 std::move(permitted)) {}

void BrokerHost::observe(Done<std::vector<HostedGeneration>> done) {
  v1::Request request;
  request.mutable_observe();
  call_(
      request, kQuick,
      [permitted = permitted_, memory_max = memory_max_, done = std::move(done)](const Result<v1::Response>& response) {
        if (!response) return done(response.error());
        if (!response->has_observe()) return done(unexpected_answer("observe"));
        *memory_max = response->observe().proxy_memory_max();
        if (permitted) permitted(permits_in(response->observe()));
        std::vector<HostedGeneration> out;
        for (const auto& item : response->observe().generations())
          out.push_back({item.name(), static_cast<pid_t>(item.pid()), item.running(), item.exit_status(),
                         item.binary_sha256(), Loop::Wall(std::chrono::seconds(item.started_at()))});
        done(std::move(out));
      });
}

void BrokerHost::validate(const std::string& generation, const std::string& bootstrap,
                          const std::vector<std::string>& args, const std::string& binary_sha256,
                          Done<Validation> done) {
  v1::Request request;
  auto& job = *request.mutable_validate();
  job.set_generation(generation);
  job.set_bootstrap(bootstrap);
  job.set_binary_sha256(binary_sha256);
  for (const auto& arg : args) job.add_args(arg);
  call_(request, kValidate, [done = std::move(done)](const Result<v1::Response>& response) {
    if (!response) return done(response.error());
    if (!response->has_validate()) return done(unexpected_answer("validate"));
    const auto& seen = response->validate();
    done(Validation{seen.valid(), proxy_words(seen.detail()), seen.version(), seen.hot_restart_version()});
  });
}

void BrokerHost::start(const std::string& generation, const std::string& bootstrap,
                       const std::vector<std::string>& args, const std::string& binary_sha256,
                       Done<StartedGeneration> done) {
  v1::Request request;
  auto& job = *request.mutable_start();
  job.set_generation(generation);
  job.set_bootstrap(bootstrap);
  job.set_binary_sha256(binary_sha256);
  for (const auto& arg : args) job.add_args(arg);
  call_(request, kStart, [done = std::move(done)](const Result<v1::Response>& response) {
    if (!response) return done(response.error());
    if (!response->has_start()) return done(unexpected_answer("start"));
    done(StartedGeneration{static_cast<pid_t>(response->start().pid()), response->start().binary_sha256()});
  });
}

void BrokerHost::signal(const std::string& generation, int signal, std::function<void(Status)> done) {
  v1::Request request;
  auto& job = *request.mutable_signal();
  job.set_generation(generation);
  job.set_signal(static_cast<std::uint32_t>(signal));
  call_(request, kQuick, [done = std::move(done)](const Result<v1::Response>& response) {
    done(response ? Status() : Status(response.error()));
  });
}

void BrokerHost::reap(const std::string& generation, std::chrono::milliseconds wait, Done<ReapedGeneration> done) {
  v1::Request request;
  auto& job = *request.mutable_reap();
  job.set_generation(generation);
  job.set_wait_ms(static_cast<std::uint32_t>(wait.count()));
  call_(request, wait + kQuick, [done = std::move(done)](const Result<v1::Response>& response) {
    if (!response) return done(response.error());
    if (!response->has_reap()) return done(unexpected_answer("reap"));
    const auto& seen = response->reap();
    done(ReapedGeneration{seen.ended(), seen.exit_status(), seen.out_of_memory()});
  });
}

void BrokerHost::repair(const std::string& generation, std::function<void(Status)> done) {
  v1::Request request;
  request.mutable_repair()->set_generation(generation);
  call_(request, kValidate, [done = std::move(done)](const Result<v1::Response>& response) {
    done(response ? Status() : Status(response.error()));
  });
}

void BrokerHost::binaries(Done<HostedBinaries> done) {
  v1::Request request;
  request.mutable_observe();
  call_(request, kQuick, [done = std::move(done)](const Result<v1::Response>& response) {
    if (!response) return done(response.error());
    if (!response->has_observe()) return done(unexpected_answer("observe"));
    done(HostedBinaries{response->observe().current_sha256(), response->observe().last_good_sha256()});
  });
}

void BrokerHost::mark(const std::string& sha256, BinaryMark mark, const std::string& reason,
                      std::function<void(Status)> done) {
  v1::Request request;
  auto& job = *request.mutable_binary();
  job.set_sha256(sha256);
  job.set_mark(mark == BinaryMark::kGood ? v1::BinaryRequest::GOOD : v1::BinaryRequest::QUARANTINE);
  job.set_reason(reason);
  call_(request, kQuick, [done = std::move(done)](const Result<v1::Response>& response) {
    done(response ? Status() : Status(response.error()));
  });
}

}  // namespace hawser::proxy
