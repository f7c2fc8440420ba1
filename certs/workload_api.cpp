// SPDX-License-Identifier: Apache-2.0
#include "certs/workload_api.h"

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <mutex>
#include <optional>
#include <utility>

#include "base/fd.h"
#include "spiffe/workload/workload.grpc.pb.h"

namespace hawser::certs {
namespace {

constexpr int kMaxAnswer = 4 << 20;

// gRPC says little of a socket that it can't connect to. 0: somebody listens.
int connect_error(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.data(), path.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno;
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

Error unreachable(const std::string& path, int why) {
  const std::string at = "the SPIFFE Workload API at " + path + " can't be reached: ";
  if (why == ENOENT || why == ECONNREFUSED)
    return {Code::kUnavailable, "HWS-CA-030", at + (why == ENOENT ? "there's no such socket" : "nobody listens"),
            "start the SPIFFE agent (systemctl status spire-agent), or correct ca.socket"};
  return {Code::kUnavailable, "HWS-CA-030", at + std::strerror(why),
          "let hawserd's user connect to it: the modes of the socket and of the folders above it"};
}

Error ended_error(const grpc::Status& status, const std::string& path) {
  const std::string text = status.error_message().empty() ? "no detail" : status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::PERMISSION_DENIED:
      return {Code::kPermissionDenied, "HWS-CA-031",
              "the SPIFFE agent has no identity for hawserd (uid " + std::to_string(::geteuid()) + "): " + text,
              "register it, e.g. spire-server entry create -parentID AGENT -spiffeID ID -selector unix:uid:" +
                  std::to_string(::geteuid())};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {Code::kUnimplemented, "HWS-CA-034", "what listens at " + path + " is no SPIFFE Workload API: " + text,
              "correct ca.socket"};
    case grpc::StatusCode::OK:
      return {Code::kUnavailable, "HWS-CA-034", "the SPIFFE agent ended the stream", "none, it is asked again"};
    default:
      return {static_cast<Code>(status.error_code()), "HWS-CA-034", "the SPIFFE Workload API failed: " + text,
              "look at the SPIFFE agent's log; it is asked again"};
  }
}

void wipe_keys(X509SVIDResponse& response) {
  for (auto& svid : *response.mutable_svids()) wipe(*svid.mutable_x509_svid_key());
}

SvidUpdate take(X509SVIDResponse& response) {
  SvidUpdate out;
  for (auto& svid : *response.mutable_svids()) {
    Svid one;
    one.spiffe_id = svid.spiffe_id();
    one.chain_der = std::move(*svid.mutable_x509_svid());
    one.key_der = Secret(std::move(*svid.mutable_x509_svid_key()));
    one.bundle_der = std::move(*svid.mutable_bundle());
    out.svids.push_back(std::move(one));
  }
  for (const auto& [domain, bundle] : response.federated_bundles()) out.federated.push_back(domain);
  out.crls = static_cast<std::size_t>(response.crl_size());
  return out;
}

}  // namespace

// gRPC holds it until OnDone. It must die on the loop, never on gRPC's callback thread, which the last channel joins.
struct WorkloadStream::Call final : public grpc::ClientReadReactor<X509SVIDResponse> {
  Loop& loop;
  const std::string path;
  // The loop's: nothing is called when they are empty.
  Updated updated;
  Ended ended;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<SpiffeWorkloadAPI::Stub> stub;
  grpc::ClientContext context;
  X509SVIDRequest request;
  X509SVIDResponse response;
  std::shared_ptr<Call> self;
  std::shared_ptr<std::promise<void>> over = std::make_shared<std::promise<void>>();
  std::mutex mutex;
  std::optional<SvidUpdate> newest;  // not taken by the loop yet

  Call(Loop& l, std::string p, Updated u, Ended e)
      : loop(l), path(std::move(p)), updated(std::move(u)), ended(std::move(e)) {}

  void begin(std::shared_ptr<Call> me) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMaxAnswer);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel = grpc::CreateCustomChannel("unix://" + path, grpc::InsecureChannelCredentials(), arguments);
    stub = SpiffeWorkloadAPI::NewStub(channel);
    context.AddMetadata("workload.spiffe.io", "true");
    self = std::move(me);
    stub->async()->FetchX509SVID(&context, &request, this);
    StartRead(&response);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    bool waiting = false;
    {
      const std::lock_guard lock(mutex);
      waiting = newest.has_value();
      newest = take(response);
    }
    wipe_keys(response);
    response.Clear();
    StartRead(&response);
    if (!waiting) loop.post([call = self] { call->deliver(); });
  }

  void deliver() {
    std::optional<SvidUpdate> update;
    {
      const std::lock_guard lock(mutex);
      update = std::exchange(newest, std::nullopt);
    }
    // A copy: the call may destroy the stream.
    if (const auto tell = updated; update && tell) tell(std::move(*update));
  }

  void OnDone(const grpc::Status& status) override {
    const auto last = over;
    loop.post([me = std::move(self), status] {
      const auto tell = std::exchange(me->ended, nullptr);
      if (!tell) return;
      const int why = status.error_code() == grpc::StatusCode::UNAVAILABLE ? connect_error(me->path) : 0;
      tell(why != 0 ? unreachable(me->path, why) : ended_error(status, me->path));
    });
    last->set_value();
  }
};

WorkloadStream::WorkloadStream(Loop& loop, std::string socket_path, Updated updated, Ended ended)
    : call_(std::make_shared<Call>(loop, std::move(socket_path), std::move(updated), std::move(ended))) {
  call_->begin(call_);
}

WorkloadStream::~WorkloadStream() {
  call_->updated = nullptr;
  call_->ended = nullptr;
  call_->context.TryCancel();
  // The callback only posts, so it needs no one; after it, gRPC holds nothing of ours.
  call_->over->get_future().wait();
}

}  // namespace hawser::certs
