// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "grpc/health/v1/health.pb.h"
#include "registration/probe_attempt.h"
#include "registration/proxy_tunnel.h"

namespace hawser::registration {
namespace {

namespace health = grpc::health::v1;

constexpr char kMethod[] = "/grpc.health.v1.Health/Check";
constexpr int kMaxAnswer = 4096;

// Each try is a connection of its own: an open one would hide that the program takes no new ones.
grpc::ChannelArguments channel_arguments(std::uint16_t port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetMaxReceiveMessageSize(kMaxAnswer);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost:" + std::to_string(port));
  return arguments;
}

std::shared_ptr<grpc::Channel> make_channel(const std::string& host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  const std::string target = (v6 ? "ipv6:[" + host + "]:" : "ipv4:" + host + ":") + std::to_string(port);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), channel_arguments(port));
}

grpc::ByteBuffer request_for(const std::string& service) {
  health::HealthCheckRequest request;
  request.set_service(service);
  const grpc::Slice slice(request.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

Status judge(const grpc::Status& status, const grpc::ByteBuffer& answer, const std::string& service) {
  const std::string of = service.empty() ? std::string("the server") : "service '" + service + "'";
  if (status.error_code() == grpc::NOT_FOUND) return unwell("the gRPC server knows no " + of);
  if (status.error_code() == grpc::UNIMPLEMENTED) return unwell("the gRPC server has no health service");
  if (!status.ok()) return unwell("gRPC health check failed: " + status.error_message());
  grpc::Slice slice;
  health::HealthCheckResponse response;
  if (!answer.DumpToSingleSlice(&slice).ok() || !response.ParseFromArray(slice.begin(), static_cast<int>(slice.size())))
    return unwell("gRPC health check: the answer can't be read");
  if (response.status() == health::HealthCheckResponse::SERVING) return {};
  const bool known = response.status() == health::HealthCheckResponse::NOT_SERVING;
  return unwell("gRPC health check: " + of + (known ? " is not serving" : " is in an unknown state"));
}

// Far more than a cancelled call needs to end.
constexpr auto kMostToEnd = std::chrono::seconds(1);

// One call. It belongs to the loop's thread: gRPC's own threads must not see the end of a channel, which joins them.
struct Call {
  grpc::ClientContext context;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<grpc::GenericStub> stub;
  grpc::ByteBuffer request;
  grpc::ByteBuffer answer;
  std::promise<void> ended;
};

class GrpcAttempt final : public ProbeAttempt, public std::enable_shared_from_this<GrpcAttempt> {
 public:
  GrpcAttempt(AsioLoop& loop, const config::HealthProbe& probe, Done done)
      : loop_(loop),
        probe_(probe),
        hosts_(hosts_of(probe.host)),
        deadline_(std::chrono::system_clock::now() + probe.timeout),
        done_(std::move(done)) {}
  ~GrpcAttempt() override { drop(); }

  void start(const ProbeSurroundings& around) {
    if (!probe_.through_proxy) return call(0);
    tunnel_ = ProxyTunnel::open(loop_, probe_, around, [weak = weak_from_this()](Result<UniqueFd> opened) {
      const auto self = weak.lock();
      if (!self || !self->done_) return;
      if (!opened) return std::exchange(self->done_, nullptr)(opened.error());
      self->hosts_.resize(1);
      self->call(
          0, grpc::CreateCustomInsecureChannelFromFd("proxy", opened->release(), channel_arguments(self->probe_.port)));
    });
  }

 private:
  void call(std::size_t host) { call(host, make_channel(hosts_[host], probe_.port)); }

  void call(std::size_t host, std::shared_ptr<grpc::Channel> channel) {
    drop();
    call_ = std::make_unique<Call>();
    call_->channel = std::move(channel);
    call_->stub = std::make_unique<grpc::GenericStub>(call_->channel);
    call_->request = request_for(probe_.grpc_service);
    call_->context.set_deadline(deadline_);
    // The loop is there until drop() has seen the end.
    call_->stub->UnaryCall(&call_->context, kMethod, grpc::StubOptions(), &call_->request, &call_->answer,
                           [ended = &call_->ended, loop = &loop_, weak = weak_from_this(), host](grpc::Status status) {
                             loop->post([weak, host, status = std::move(status)] {
                               if (auto self = weak.lock()) self->answered(host, status);
                             });
                             ended->set_value();
                           });
  }

  void answered(std::size_t host, const grpc::Status& status) {
    if (!done_) return;
    // refused in IPv4: it may listen on ::1 alone
    if (status.error_code() == grpc::UNAVAILABLE && host + 1 < hosts_.size()) {
      if (first_.ok()) first_ = status;
      return call(host + 1);
    }
    const bool unreachable = status.error_code() == grpc::UNAVAILABLE && !first_.ok();
    auto verdict = judge(unreachable ? first_ : status, call_->answer, probe_.grpc_service);
    std::exchange(done_, nullptr)(verdict);
  }

  void drop() {
    if (!call_) return;
    call_->context.TryCancel();
    // One that doesn't end may still be written to: then it stays, and the memory is lost.
    if (call_->ended.get_future().wait_for(kMostToEnd) != std::future_status::ready) static_cast<void>(call_.release());
    call_.reset();
  }

  AsioLoop& loop_;
  config::HealthProbe probe_;
  std::vector<std::string> hosts_;
  std::chrono::system_clock::time_point deadline_;
  Done done_;
  std::unique_ptr<Call> call_;
  std::unique_ptr<ProxyTunnel> tunnel_;
  grpc::Status first_;
};

}  // namespace

std::shared_ptr<ProbeAttempt> attempt_grpc(AsioLoop& loop, const config::HealthProbe& probe,
                                           const ProbeSurroundings& around, ProbeAttempt::Done done) {
  auto attempt = std::make_shared<GrpcAttempt>(loop, probe, std::move(done));
  attempt->start(around);
  return attempt;
}

}  // namespace hawser::registration
