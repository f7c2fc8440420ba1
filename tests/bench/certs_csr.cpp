// SPDX-License-Identifier: Apache-2.0
// What hawserd adds to a certificate request: the same server, on loopback by TLS, asked by a bare gRPC client that has
// its request ready, and by hawserd's own way from key to verified answer. The server signs nothing anew where it
// needn't, so that its own work is small. Prints JSON: medians in milliseconds; see certs.py.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/asio_loop.h"
#include "certs/ca_grpc.h"
#include "certs/ca_istio.h"
#include "certs/certificate_request.h"
#include "istio/security/v1alpha1/ca.grpc.pb.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;
using istio::v1::auth::IstioCertificateService;
using Clock = std::chrono::steady_clock;

constexpr char kName[] = "istiod.bench";

double since(Clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

class Server final : public IstioCertificateService::Service {
 public:
  explicit Server(test::TestCa& ca) : ca_(ca) {
    const auto key = make_key(KeyKind::kEcP256);
    grpc::SslServerCredentialsOptions tls;
    const std::string pem(key->reveal());
    tls.pem_key_cert_pairs.push_back(
        {pem,
         ca.server_certificate(pem, kName, test::around(std::chrono::system_clock::now())) + ca.intermediate_pem()});
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address = "127.0.0.1:" + std::to_string(port);
  }
  ~Server() override { server_->Shutdown(); }

  grpc::Status CreateCertificate(grpc::ServerContext*, const IstioCertificateRequest* request,
                                 IstioCertificateResponse* response) override {
    response->add_cert_chain(
        ca_.sign_csr(request->csr(), test::kSpiffe, test::around(std::chrono::system_clock::now())));
    response->add_cert_chain(ca_.intermediate_pem());
    response->add_cert_chain(ca_.root_pem());
    return grpc::Status::OK;
  }

  std::string address;

 private:
  test::TestCa& ca_;
  std::unique_ptr<grpc::Server> server_;
};

// As a program would that had nothing else to do: channel, handshake, call.
double bare(const Server& server, const std::string& roots, const std::string& csr) {
  const auto begun = Clock::now();
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = roots;
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(kName);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto stub = IstioCertificateService::NewStub(
      grpc::CreateCustomChannel("dns:///" + server.address, grpc::SslCredentials(tls), arguments));
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer jwt");
  IstioCertificateRequest request;
  request.set_csr(csr);
  IstioCertificateResponse response;
  if (!stub->CreateCertificate(&context, request, &response).ok()) std::abort();
  return since(begun);
}

class Tokens final : public TokenSource {
 public:
  Traits traits() const override { return {"file", false, 0}; }
  Result<Token> attest(const Challenge&) override {
    Token token;
    token.text = Secret("jwt");
    return token;
  }
};

struct Ours {
  AsioLoop loop;
  ThreadWorker worker;
  Metrics metrics;
  GrpcCa ca;
  CertificateRequest request;

  Ours(const Server& server, const std::string& roots, KeyKind kind)
      : ca(loop, worker, metrics, make_istio_protocol({"Kubernetes", ""}), options_of(server, roots)),
        request(loop, worker, ca, std::make_shared<Tokens>(), {{test::kSpiffe, {}}, kind, std::chrono::hours(24)},
                metrics) {}

  static GrpcCa::Options options_of(const Server& server, const std::string& roots) {
    GrpcCa::Options options;
    options.dial = {server.address};
    options.server_name = kName;
    options.roots = [roots] { return roots; };
    return options;
  }

  double once() {
    const auto begun = Clock::now();
    double took = 0;
    request.start(nullptr, [&](const Result<IdentityPtr>& got) {
      if (!got) std::abort();
      took = since(begun);
      loop.stop();
    });
    loop.context().restart();
    loop.run();
    return took;
  }
};

nlohmann::json measure(KeyKind kind, int runs) {
  test::TestCa authority("bench");
  Server server(authority);
  Ours ours(server, authority.root_pem(), kind);
  std::vector<double> key_times, bare_times, own_times;
  for (int i = 0; i < runs; ++i) {
    const auto begun = Clock::now();
    const auto key = make_key(kind);
    key_times.push_back(since(begun));
    const auto csr = make_csr(*key, test::kSpiffe);
    bare_times.push_back(bare(server, authority.root_pem(), *csr));
    own_times.push_back(ours.once());
  }
  return {{"key", median(key_times)}, {"bare", median(bare_times)}, {"ours", median(own_times)}};
}

}  // namespace
}  // namespace hawser::certs

int main(int argc, char** argv) {
  using hawser::certs::KeyKind;
  const int runs = argc > 1 ? std::atoi(argv[1]) : 51;
  std::cout << nlohmann::json{{"P-256", hawser::certs::measure(KeyKind::kEcP256, runs)},
                              {"RSA-2048", hawser::certs::measure(KeyKind::kRsa2048, runs)}}
                   .dump()
            << "\n";
  return 0;
}
