// SPDX-License-Identifier: Apache-2.0
#include "admin.h"

#include <algorithm>

#include "base/log.h"
#include "hawser/admin.pb.h"
#include "rpc/frame_server.h"

namespace hawser {
namespace {

namespace v1 = admin::v1;

std::string encode(const Result<std::string>& outcome) {
  v1::Response response;
  if (outcome) {
    response.set_json(*outcome);
    return response.SerializeAsString();
  }
  auto* failure = response.mutable_failure();
  failure->set_code(static_cast<int>(outcome.error().code()));
  failure->set_id(outcome.error().id());
  std::string message = outcome.error().where().empty() ? "" : outcome.error().where() + ": ";
  message += outcome.error().message();
  for (const Error* cause = outcome.error().cause(); cause != nullptr; cause = cause->cause())
    message += ": " + cause->message();
  failure->set_message(message);
  failure->set_hint(outcome.error().hint());
  return response.SerializeAsString();
}

bool open_to_all(const v1::Request& request) {
  return request.has_status() || request.has_wait() || request.has_cert_show() || request.has_xds_bootstrap() ||
         request.has_xds_status() || request.has_trust_show() || request.has_identity_show() ||
         request.has_proxy_history() || request.has_proxy_status() || request.has_events();
}

ProxyQuestion question_of(const v1::ProxyAskRequest& ask) {
  return {ask.what(),       ask.generation(), ask.resource(), ask.mask(),
          ask.name_regex(), ask.endpoints(),  ask.token(),    ask.offset()};
}

}  // namespace

struct AdminServer::Impl {
  Operations operations;
  gid_t admin_group;
  rpc::FrameServer server;

  Impl(AsioLoop& loop, ListeningSocket socket, Operations ops, gid_t group)
      : operations(std::move(ops)),
        admin_group(group),
        server(loop, std::move(socket),
               [this](const PeerCredentials& peer, std::string request, rpc::FrameServer::Reply reply) {
                 handle(peer, request, std::move(reply));
               }) {}

  bool may_change(const PeerCredentials& peer) const {
    return peer.uid == 0 || peer.gid == admin_group ||
           std::find(peer.groups.begin(), peer.groups.end(), admin_group) != peer.groups.end();
  }

  void handle(const PeerCredentials& peer, const std::string& bytes, rpc::FrameServer::Reply reply) {
    const AdminServer::Done done = [reply = std::move(reply)](const Result<std::string>& outcome) {
      reply(encode(outcome));
    };
    v1::Request request;
    if (!request.ParseFromString(bytes) || request.job_case() == v1::Request::JOB_NOT_SET)
      return done(Error(Code::kInvalidArgument, "HWS-AD-002", "the request can't be read",
                        "use the same version of hawser and hawserd"));
    if (!open_to_all(request) && !may_change(peer)) {
      log::warn("refused on admin.sock", {{"uid", std::to_string(peer.uid)}});
      return done(Error(Code::kPermissionDenied, "HWS-AD-001", "this needs root or the group hawser-admin",
                        "run it with sudo"));
    }
    run(request, done);
  }

  void run(v1::Request& request, const AdminServer::Done& done) {
    switch (request.job_case()) {
      case v1::Request::kStatus:
        return done(operations.status());
      case v1::Request::kJoin:
        return operations.join(std::move(*request.mutable_join()->mutable_token()), done);
      case v1::Request::kLeave:
        return operations.leave(std::min(request.leave().drain_seconds(), 600U), done);
      case v1::Request::kCertShow:
        return done(operations.cert_show());
      case v1::Request::kCertRenew:
        return operations.cert_renew(done);
      case v1::Request::kIdentityProve:
        return operations.identity_prove(std::move(*request.mutable_identity_prove()->mutable_token()), done);
      case v1::Request::kWait:
        return operations.wait(request.wait().event(), std::chrono::milliseconds(request.wait().timeout_ms()), done);
      case v1::Request::kInterceptShow:
        return operations.intercept_show(done);
      case v1::Request::kInterceptApply:
        return operations.intercept_apply(std::chrono::seconds(request.intercept_apply().revert_seconds()),
                                          request.intercept_apply().ssh_connection(),
                                          request.intercept_apply().takeover(), done);
      case v1::Request::kInterceptConfirm:
        return operations.intercept_confirm(done);
      case v1::Request::kInterceptDrain:
        return operations.intercept_drain(std::chrono::seconds(std::min(request.intercept_drain().seconds(), 86'400U)),
                                          done);
      case v1::Request::kProxyRestart:
        return operations.proxy_job(RestartJob{request.proxy_restart().hand_over(), request.proxy_restart().plan(),
                                               request.proxy_restart().binary_sha256()},
                                    done);
      case v1::Request::kProxyHistory:
        return operations.proxy_job(HistoryJob{request.proxy_history().after()}, done);
      case v1::Request::kDrain:
        return operations.proxy_job(
            DrainJob{request.drain().listeners(), request.drain().time_ms(), request.drain().until_reboot()}, done);
      case v1::Request::kUndrain:
        return operations.proxy_job(UndrainJob{}, done);
      case v1::Request::kProxyStatus:
        return operations.proxy_job(ProxyStatusJob{}, done);
      case v1::Request::kProxyAsk:
        return operations.proxy_job(question_of(request.proxy_ask()), done);
      case v1::Request::kEvents:
        return done(operations.events(request.events().after_history(), request.events().after_health()));
      case v1::Request::kXdsDebug:
        return operations.relay_job(
            DebugJob{request.xds_debug().type(), request.xds_debug().resource(), request.xds_debug().timeout_ms()},
            done);
      case v1::Request::kXdsHold:
        return operations.relay_job(HoldJob{request.xds_hold().generation(), request.xds_hold().listeners(),
                                            request.xds_hold().seconds(), request.xds_hold().reason()},
                                    done);
      case v1::Request::kXdsRelease:
        return operations.relay_job(ReleaseJob{request.xds_release().generation()}, done);
      case v1::Request::kXdsBootstrap:
        return operations.relay_job(BootstrapJob{}, done);
      case v1::Request::kXdsStatus:
        return done(operations.xds_status());
      case v1::Request::kTrustShow:
        return done(operations.trust_show());
      case v1::Request::kTrustChange:
        return done(operations.trust_change(request.trust_change().sha256(), request.trust_change().allow()));
      case v1::Request::kIdentityShow:
        return operations.identity_show(done);
      case v1::Request::kIdentityReset:
        return operations.identity_reset(std::move(*request.mutable_identity_reset()->mutable_token()),
                                         request.identity_reset().force(), done);
      case v1::Request::JOB_NOT_SET:
        break;
    }
  }
};

AdminServer::AdminServer(AsioLoop& loop, ListeningSocket socket, Operations operations, gid_t admin_group)
    : impl_(std::make_unique<Impl>(loop, std::move(socket), std::move(operations), admin_group)) {}
AdminServer::~AdminServer() = default;
void AdminServer::start() {
  impl_->server.start();
}

}  // namespace hawser
