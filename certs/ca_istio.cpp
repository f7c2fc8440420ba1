// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_istio.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <future>

#include "base/log.h"
#include "certs/tls_probe.h"
#include "dial/basic_auth.h"
#include "dial/dialler.h"
#include "dial/grpc_route.h"
#include "dial/proxy_error.h"
#include "istio/security/v1alpha1/ca.grpc.pb.h"

namespace hawser::certs {
namespace {

using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;
using istio::v1::auth::IstioCertificateService;

constexpr int kMaxAnswer = 4 << 20;
// Of one call: each may take its whole deadline.
constexpr std::size_t kMostRoutes = 3;

// One attempt. It must die on the loop, never on gRPC's callback thread: the last channel joins those threads when it
// goes (CallbackAlternativeCQ of gRPC 1.51), and a thread that joins itself aborts. So the callback hands its share
// over with the post.
struct Call {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<IstioCertificateService::Stub> stub;
  grpc::ClientContext context;
  IstioCertificateRequest request;
  IstioCertificateResponse response;
  std::shared_ptr<std::promise<void>> over = std::make_shared<std::promise<void>>();
};

std::shared_ptr<grpc::Channel> make_channel(const IstioCa::Options& options, const dial::Route& route,
                                            const Identity* client) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = options.present_roots();
  if (client != nullptr) {
    tls.pem_private_key = client->key_pem.reveal();
    tls.pem_cert_chain = client->chain_pem;
  }
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(options.server_name);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, options.server_name);
  arguments.SetMaxReceiveMessageSize(kMaxAnswer);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  dial::apply_proxy(route, arguments);
  const std::string target = options.dialler != nullptr ? dial::grpc_target(route) : "dns:///" + route.address;
  auto channel = grpc::CreateCustomChannel(target, grpc::SslCredentials(tls), arguments);
  wipe(tls.pem_private_key);
  return channel;
}

Result<CaClient::Answer> read_answer(const IstioCertificateResponse& response) {
  // The last entry is the root bundle; a leaf alone would leave us without anything to trust.
  if (response.cert_chain_size() < 2)
    return Error(Code::kInternal, "HWS-CA-007",
                 "the CA's answer has " + std::to_string(response.cert_chain_size()) + " entries instead of at least 2",
                 "check that ca.address is the mesh's CA");
  CaClient::Answer answer;
  const auto end_line = [](std::string& pem) {
    if (!pem.empty() && pem.back() != '\n') pem += '\n';
  };
  for (int i = 0; i + 1 < response.cert_chain_size(); ++i) {
    answer.chain_pem += response.cert_chain(i);
    end_line(answer.chain_pem);
  }
  answer.roots_pem = response.cert_chain(response.cert_chain_size() - 1);
  end_line(answer.roots_pem);
  return answer;
}

Error answered_error(const grpc::Status& status) {
  const std::string text = status.error_message().empty() ? "no detail" : status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::UNAUTHENTICATED:
      return {
          Code::kUnauthenticated, "HWS-CA-004", "the CA doesn't accept this host's proof of identity: " + text,
          "make a new bundle or token and run hawser join again; check that mesh.cluster_id is the token's cluster"};
    case grpc::StatusCode::PERMISSION_DENIED:
      return {Code::kPermissionDenied, "HWS-CA-005", "the CA doesn't let this identity have a certificate: " + text,
              "let the service account in at the CA, or join with another one"};
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::NOT_FOUND:
      return {static_cast<Code>(status.error_code()), "HWS-CA-006", "the CA refuses the request: " + text,
              "check identity.ttl against the CA's limit, and the CA's log"};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {Code::kUnimplemented, "HWS-CA-006",
              "there is no istio.v1.auth.IstioCertificateService at the CA's address: " + text,
              "set ca.address to the mesh's CA"};
    default:
      return {static_cast<Code>(status.error_code()), "HWS-CA-013", "the CA failed: " + text,
              "look at the CA's log; it is asked again"};
  }
}

Error unreached_route(const Error& error) {
  if (error.id() != "HWS-DL-001") return error;
  return Error(Code::kUnavailable, "HWS-CA-003", error.message(),
               "check the CA's address, its service and the firewalls on the way");
}

Error unreached_error(const TlsFinding& finding) {
  switch (finding.cause) {
    case TlsCause::kWrongRoot:
      return {Code::kFailedPrecondition, "HWS-CA-001", "wrong CA root: " + finding.detail,
              "take root-cert.pem from the mesh that serves the CA and run hawser join again"};
    case TlsCause::kWrongName:
      return {Code::kFailedPrecondition, "HWS-CA-002", "wrong server name: " + finding.detail,
              "set control_plane.address or ca.address to a name that the certificate has"};
    case TlsCause::kOutOfDate:
      return {Code::kFailedPrecondition, "HWS-CA-014", finding.detail,
              "renew the CA's serving certificate, or set this host's clock"};
    case TlsCause::kNotTls:
      return {Code::kFailedPrecondition, "HWS-CA-015", finding.detail + "; a token isn't sent in clear",
              "use the CA's TLS port (15012, not 15010)"};
    case TlsCause::kRefused:
      return {Code::kUnavailable, "HWS-CA-012", finding.detail,
              "look at the CA's log, and at what is between it and this host"};
    default:
      return {Code::kUnavailable, "HWS-CA-003", finding.detail,
              "check the CA's address, its service and the firewalls on the way"};
  }
}

// An answer from the server, or a connection that wasn't?
bool may_be_transport(grpc::StatusCode code) {
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::DEADLINE_EXCEEDED;
}

}  // namespace

struct IstioCa::Impl : std::enable_shared_from_this<Impl> {
  Loop& loop;
  SlowWorker& slow;
  Metrics& metrics;
  Options options;
  Request request;
  Done done;
  std::shared_ptr<Call> call;
  dial::Route route;           // of the attempt
  std::size_t dial_index = 0;  // kept between requests: the address that worked is the first choice
  std::size_t dials_left = 0;
  bool with_certificate = false;
  std::uint64_t serial = 0;  // of the request; posts of an earlier one are ignored

  Impl(Loop& l, SlowWorker& s, Metrics& m, Options o) : loop(l), slow(s), metrics(m), options(std::move(o)) {}

  void begin(Request next, Done when_done) {
    request = std::move(next);
    done = std::move(when_done);
    ++serial;
    if ((options.dial.empty() && options.dialler == nullptr) || options.present_roots().empty()) {
      // Without a root gRPC would trust the system's, which is not what was pinned.
      return finish_later(Error(Code::kFailedPrecondition, "HWS-CA-001",
                                "wrong CA root: there is none, or no CA address",
                                "run hawser join with the bundle again"));
    }
    dials_left = options.dialler != nullptr ? std::min(kMostRoutes, options.dialler->addresses()) : options.dial.size();
    if (options.dialler != nullptr) options.dialler->start_over();
    with_certificate = request.client && !request.client->expired_at(loop.wall());
    if (!with_certificate && request.token.empty())
      return finish_later(Error(Code::kUnauthenticated, "HWS-CA-004",
                                "neither a token nor a valid certificate to show to the CA",
                                "make a new bundle or token and run hawser join again"));
    attempt();
  }

  void finish_later(Error error) {
    loop.post([weak = weak_from_this(), id = serial, error = std::move(error)] {
      if (auto self = weak.lock(); self && self->serial == id) self->finish(error);
    });
  }

  void finish(Result<Answer> result) {
    call.reset();
    request = Request();
    ++serial;
    if (auto once = std::exchange(done, nullptr)) once(std::move(result));
  }

  void attempt() {
    if (options.dialler == nullptr) {
      route.address = options.dial[dial_index % options.dial.size()];
      return call_by_route();
    }
    options.dialler->next([weak = weak_from_this(), id = serial](Result<dial::Route> found) {
      const auto self = weak.lock();
      if (!self || self->serial != id) return;
      if (found) {
        self->route = *found;
        return self->call_by_route();
      }
      if (--self->dials_left > 0) return self->attempt();
      self->finish_later(unreached_route(found.error()));
    });
  }

  void call_by_route() {
    call = std::make_shared<Call>();
    call->channel = make_channel(options, route, with_certificate ? request.client.get() : nullptr);
    call->stub = IstioCertificateService::NewStub(call->channel);
    call->context.set_deadline(std::chrono::system_clock::now() + options.deadline);
    call->context.AddMetadata("clusterid", options.cluster_id);
    if (!request.token.empty())
      call->context.AddMetadata("authorization", std::string("Bearer ").append(request.token.reveal()));
    call->request.set_csr(request.csr_pem);
    call->request.set_validity_duration(request.ttl.count());
    (*call->request.mutable_metadata()->mutable_fields())["CertSigner"].set_string_value("");
    call->stub->async()->CreateCertificate(
        &call->context, &call->request, &call->response,
        [weak = weak_from_this(), id = serial, loop_ref = &loop, share = call,
         over = call->over](const grpc::Status& status) mutable {
          loop_ref->post([weak = std::move(weak), id, share = std::move(share), status] {
            auto self = weak.lock();
            if (self && self->serial == id && self->call == share) self->answered(status);
          });
          over->set_value();
        });
  }

  void answered(const grpc::Status& status) {
    metrics.add("hawser_ca_calls_total", "Calls to the CA by gRPC code",
                {{"code", std::string(code_name(static_cast<Code>(status.error_code())))}});
    if (options.dialler != nullptr && (status.ok() || !may_be_transport(status.error_code())))
      options.dialler->tried(route, std::nullopt);
    if (status.ok()) return finish(read_answer(call->response));
    if (!may_be_transport(status.error_code())) return finish(answered_error(status));
    log::debug("the CA's connection failed", {{"address", route.text()}, {"grpc", status.error_message()}});
    slow.submit([weak = weak_from_this(), id = serial, loop_ref = &loop, status, timeout = options.probe_timeout,
                 target = TlsTarget{route.address, options.server_name, options.present_roots(), route.connect_to,
                                    dial::proxy_authorization(route)}] {
      auto finding = probe_tls(target, timeout);
      loop_ref->post([weak, id, status, finding = std::move(finding)] {
        if (auto self = weak.lock(); self && self->serial == id) self->diagnosed(status, finding);
      });
    });
  }

  void diagnosed(const grpc::Status& status, const TlsFinding& finding) {
    if (finding.cause == TlsCause::kNone) return server_is_fine(status);
    if (options.dialler != nullptr) return try_another(finding);
    if (finding.cause == TlsCause::kUnreachable && --dials_left > 0) {
      ++dial_index;
      return attempt();
    }
    if (finding.cause == TlsCause::kUnreachable) ++dial_index;
    finish(unreached_error(finding));
  }

  // Also for what only an operator can mend at this address: another one may be well.
  void try_another(const TlsFinding& finding) {
    const Error error = finding.cause == TlsCause::kProxy ? dial::make_proxy_error(finding.proxy_status, route)
                        : finding.cause == TlsCause::kUnreachable && !route.connect_to.empty()
                            ? Error(Code::kUnavailable, "HWS-DL-004", "the HTTP proxy: " + finding.detail,
                                    "check control_plane.http_proxy, the proxy and the firewalls on the way to it")
                            : unreached_error(finding);
    options.dialler->tried(route, error);
    if (--dials_left > 0) return attempt();
    finish(error);
  }

  // The server shows what it should to whoever shows it nothing. So either it dislikes our certificate, or it is busy.
  void server_is_fine(const grpc::Status& status) {
    if (with_certificate && !request.token.empty()) {
      log::warn("the CA dropped the connection; trying with the token alone",
                {{"address", route.text()}, {"id", "HWS-CA-012"}});
      metrics.add("hawser_ca_without_certificate_total", "Calls repeated without the client certificate");
      with_certificate = false;
      return attempt();
    }
    if (with_certificate && status.error_code() == grpc::StatusCode::UNAVAILABLE)
      return finish(Error(Code::kUnavailable, "HWS-CA-012",
                          "the CA drops connections that show this host's certificate: " + status.error_message(),
                          "if the mesh's root was replaced, make a new bundle and run hawser join again"));
    finish(answered_error(status));
  }

  void stop() {
    ++serial;
    done = nullptr;
    request = Request();
    if (!call) return;
    call->context.TryCancel();
    // The callback only posts, so it needs no one; after it, gRPC holds nothing of ours.
    call->over->get_future().wait();
    call.reset();
  }
};

IstioCa::IstioCa(Loop& loop, SlowWorker& slow, Metrics& metrics, Options options)
    : impl_(std::make_shared<Impl>(loop, slow, metrics, std::move(options))) {}

IstioCa::~IstioCa() {
  impl_->stop();
}

void IstioCa::sign(Request request, Done done) {
  impl_->stop();
  impl_->begin(std::move(request), std::move(done));
}

void IstioCa::cancel() {
  impl_->stop();
}

}  // namespace hawser::certs
