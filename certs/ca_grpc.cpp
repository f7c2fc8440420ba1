// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_grpc.h"

#include <algorithm>

#include "base/log.h"
#include "certs/ca_call.h"
#include "certs/ca_errors.h"
#include "certs/system_roots.h"
#include "certs/tls_probe.h"
#include "dial/basic_auth.h"
#include "dial/dialler.h"
#include "dial/proxy_error.h"

namespace hawser::certs {
namespace {

// Of one call: each may take its whole deadline.
constexpr std::size_t kMostRoutes = 3;

Error unreached_route(const Error& error) {
  if (error.id() != "HWS-DL-001") return error;
  return Error(Code::kUnavailable, "HWS-CA-003", error.message(),
               "check the CA's address, its service and the firewalls on the way");
}

Error no_proof() {
  return {Code::kUnauthenticated, "HWS-CA-004", "neither a token nor a valid certificate to show to the CA",
          "make a new bundle or token and run hawser join again"};
}

Error unsendable(const std::string& what, const std::string& fix) {
  return {Code::kInvalidArgument, "HWS-CA-019", what + " has characters that can't be sent", fix};
}

// An answer from the server, or a connection that wasn't?
bool may_be_transport(grpc::StatusCode code) {
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::DEADLINE_EXCEEDED;
}

}  // namespace

struct GrpcCa::Impl : std::enable_shared_from_this<Impl> {
  Loop& loop;
  SlowWorker& slow;
  Metrics& metrics;
  std::unique_ptr<CaProtocol> protocol;
  Options options;
  CaProtocol::Metadata headers;
  Request request;
  Done done;
  std::shared_ptr<CaCall> call;
  std::string roots_pem;       // of the request
  dial::Route route;           // of the attempt
  std::size_t dial_index = 0;  // kept between requests: the address that worked is the first choice
  std::size_t dials_left = 0;
  bool with_certificate = false;
  std::uint64_t serial = 0;  // of the request; posts of an earlier one are ignored

  Impl(Loop& l, SlowWorker& s, Metrics& m, std::unique_ptr<CaProtocol> p, Options o)
      : loop(l), slow(s), metrics(m), protocol(std::move(p)), options(std::move(o)) {}

  void begin(Request next, Done when_done) {
    request = std::move(next);
    done = std::move(when_done);
    ++serial;
    headers = protocol->metadata();
    headers.insert(headers.end(), options.headers.begin(), options.headers.end());
    with_certificate = request.client && !request.client->expired_at(loop.wall());
    if (!with_certificate && request.token.empty()) return finish_later(no_proof());
    if (!can_be_header(request.token.reveal()))
      return finish_later(unsendable("the token", "give a token without line breaks or other control characters"));
    for (const auto& [name, value] : headers)
      if (!can_be_header(value))
        return finish_later(unsendable("the header " + name, "correct it in the configuration"));
    if (options.system_roots) return load_system();
    use_roots(options.roots ? options.roots() : std::string());
  }

  void load_system() {
    slow.submit([weak = weak_from_this(), id = serial, loop_ref = &loop] {
      auto pem = load_system_roots();
      loop_ref->post([weak, id, pem = std::move(pem)] {
        const auto self = weak.lock();
        if (!self || self->serial != id) return;
        if (!pem) return self->finish(pem.error());
        self->use_roots(*pem);
      });
    });
  }

  void use_roots(const std::string& pem) {
    roots_pem = pem;
    if ((options.dial.empty() && options.dialler == nullptr) || roots_pem.empty()) {
      // Without a root gRPC would trust the system's, which is not what was pinned.
      return finish_later(Error(Code::kFailedPrecondition, "HWS-CA-001",
                                "wrong CA root: there is none, or no CA address",
                                "run hawser join with the bundle again"));
    }
    dials_left = options.dialler != nullptr ? std::min(kMostRoutes, options.dialler->addresses()) : options.dial.size();
    if (options.dialler != nullptr) options.dialler->start_over();
    attempt();
  }

  void finish_later(Error error) {
    loop.post([weak = weak_from_this(), id = serial, error = std::move(error)] {
      if (auto self = weak.lock(); self && self->serial == id) self->finish(error);
    });
  }

  void finish(Result<Answer> result) {
    // It goes when who waits has the answer: closing a channel takes milliseconds.
    const auto last = std::move(call);
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
    // What isn't shown in the handshake isn't told in the request either.
    if (!with_certificate) request.client = nullptr;
    call = std::make_shared<CaCall>(CallTarget{route, options.dialler != nullptr, options.server_name, roots_pem},
                                    request.client.get());
    for (const auto& [name, value] : headers) call->header(name, value);
    if (!request.token.empty()) call->header("authorization", std::string("Bearer ").append(request.token.reveal()));
    auto bytes = protocol->request(request);
    call->start(protocol->method(), bytes, options.deadline,
                [weak = weak_from_this(), id = serial, loop_ref = &loop](std::shared_ptr<CaCall> share,
                                                                         const grpc::Status& status) {
                  loop_ref->post([weak, id, share = std::move(share), status] {
                    auto self = weak.lock();
                    if (self && self->serial == id && self->call == share) self->answered(status);
                  });
                });
    wipe(bytes);
  }

  void answered(const grpc::Status& status) {
    metrics.add("hawser_ca_calls_total", "Calls to the CA by gRPC code",
                {{"code", std::string(code_name(static_cast<Code>(status.error_code())))}});
    if (options.dialler != nullptr && (status.ok() || !may_be_transport(status.error_code())))
      options.dialler->tried(route, std::nullopt);
    if (status.ok()) return finish(protocol->answer(call->answer()));
    if (!may_be_transport(status.error_code())) return finish(refused(status));
    log::debug("the CA's connection failed", {{"address", route.text()}, {"grpc", status.error_message()}});
    slow.submit([weak = weak_from_this(), id = serial, loop_ref = &loop, status, timeout = options.probe_timeout,
                 target = TlsTarget{route.address, options.server_name, roots_pem, route.connect_to,
                                    dial::proxy_authorization(route)}] {
      auto finding = probe_tls(target, timeout);
      loop_ref->post([weak, id, status, finding = std::move(finding)] {
        if (auto self = weak.lock(); self && self->serial == id) self->diagnosed(status, finding);
      });
    });
  }

  Error refused(const grpc::Status& status) const {
    if (is_too_large(status)) return unusable_answer("is larger than 4 MiB");
    const std::string method = protocol->method();
    return refused_error(static_cast<Code>(status.error_code()), status.error_message(),
                         method.substr(1, method.rfind('/') - 1));
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
    finish(refused(status));
  }

  void stop() {
    ++serial;
    done = nullptr;
    request = Request();
    if (!call) return;
    call->cancel();
    call.reset();
  }
};

GrpcCa::GrpcCa(Loop& loop, SlowWorker& slow, Metrics& metrics, std::unique_ptr<CaProtocol> protocol, Options options)
    : impl_(std::make_shared<Impl>(loop, slow, metrics, std::move(protocol), std::move(options))) {}

GrpcCa::~GrpcCa() {
  impl_->stop();
}

CaClient::Traits GrpcCa::traits() const {
  return {impl_->protocol->name(), false};
}

void GrpcCa::sign(Request request, Done done) {
  impl_->stop();
  impl_->begin(std::move(request), std::move(done));
}

void GrpcCa::cancel() {
  impl_->stop();
}

}  // namespace hawser::certs
