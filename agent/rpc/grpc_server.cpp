// SPDX-License-Identifier: Apache-2.0
#include "rpc/grpc_server.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <chrono>

#include "base/log.h"

namespace hawser::rpc {
namespace {

using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

constexpr int kMaxMessage = 256 << 20;  // the largest response of a control plane that we relay
constexpr int kAcceptBatch = 32;
constexpr auto kAcceptPause = std::chrono::milliseconds(200);

// Accepts on one socket. Runs on the loop.
class Listener {
 public:
  Listener(AsioLoop& loop, Metrics& metrics, GrpcServer::Endpoint endpoint, std::unique_ptr<Acceptor> acceptor)
      : loop_(loop),
        metrics_(metrics),
        endpoint_(std::move(endpoint)),
        acceptor_(std::move(acceptor)),
        descriptor_(loop.context(), endpoint_.socket.fd.get()) {}
  ~Listener() {
    descriptor_.release();  // the socket belongs to endpoint_
    unlink_unix(endpoint_.socket);
  }

  void wait() {
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code& error) {
                             if (!error) accept_some();
                           });
  }

 private:
  void accept_some() {
    for (int i = 0; i < kAcceptBatch; ++i) {
      UniqueFd fd(::accept4(endpoint_.socket.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd) {
        hand_over(std::move(fd));
        continue;
      }
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN) return pause(errno);
      break;
    }
    wait();
  }

  // Out of descriptors: the connection stays in the backlog; spinning on it would take the core.
  void pause(int err) {
    log::warn("can't accept", {{"socket", endpoint_.name}, {"error", errno_error(err, "", "accept").message()}});
    retry_ = loop_.after(kAcceptPause, [this] { wait(); });
  }

  bool allows(const PeerCredentials& peer) const {
    const auto has = [](const auto& list, auto value) {
      return std::find(list.begin(), list.end(), value) != list.end();
    };
    return has(endpoint_.allowed, peer.uid) ||
           std::any_of(endpoint_.allowed_groups.begin(), endpoint_.allowed_groups.end(),
                       [&](gid_t group) { return peer.gid == group || has(peer.groups, group); });
  }

  void hand_over(UniqueFd fd) {
    auto peer = peer_of(fd.get());
    if (!peer || !allows(*peer)) {
      metrics_.add("hawser_rpc_refused_total", "Connections refused for the peer's uid", {{"socket", endpoint_.name}});
      log::warn("connection refused",
                {{"socket", endpoint_.name}, {"uid", peer ? std::to_string(peer->uid) : "unknown"}});
      return;
    }
    metrics_.add("hawser_rpc_connections_total", "Connections accepted", {{"socket", endpoint_.name}});
    Acceptor::NewConnectionParameters parameters;
    parameters.listener_fd = endpoint_.socket.fd.get();
    parameters.fd = fd.release();
    acceptor_->HandleNewConnection(&parameters);
  }

  AsioLoop& loop_;
  Metrics& metrics_;
  GrpcServer::Endpoint endpoint_;
  std::unique_ptr<Acceptor> acceptor_;
  boost::asio::posix::stream_descriptor descriptor_;
  std::unique_ptr<Loop::Timer> retry_;
};

}  // namespace

struct GrpcServer::Impl {
  AsioLoop& loop;
  Metrics& metrics;
  std::unique_ptr<grpc::Server> server;
  std::vector<std::unique_ptr<Listener>> listeners;
};

GrpcServer::GrpcServer(AsioLoop& loop, Metrics& metrics) : impl_(new Impl{loop, metrics, nullptr, {}}) {}
GrpcServer::~GrpcServer() {
  stop();
}

Status GrpcServer::start(std::vector<Endpoint> endpoints, const std::vector<grpc::Service*>& services,
                         grpc::CallbackGenericService* generic) {
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxMessage);
  builder.SetMaxSendMessageSize(kMaxMessage);
  for (grpc::Service* service : services) builder.RegisterService(service);
  if (generic != nullptr) builder.RegisterCallbackGenericService(generic);
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  for (std::size_t i = 0; i < endpoints.size(); ++i)
    acceptors.push_back(builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, grpc::InsecureServerCredentials()));
  impl_->server = builder.BuildAndStart();
  if (!impl_->server) return Error(Code::kInternal, "HWS-RPC-005", "the local gRPC server didn't start");
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    impl_->listeners.push_back(
        std::make_unique<Listener>(impl_->loop, impl_->metrics, std::move(endpoints[i]), std::move(acceptors[i])));
    impl_->listeners.back()->wait();
  }
  return {};
}

void GrpcServer::stop() {
  impl_->listeners.clear();
  if (!impl_->server) return;
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  impl_->server.reset();
}

}  // namespace hawser::rpc
