// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "base/asio_loop.h"
#include "certs/ca_grpc.h"
#include "certs/csr.h"
#include "test_ca.h"
#include "tls_server.h"

namespace hawser::certs::test {

inline constexpr char kCaName[] = "istiod.test";

// What: a gRPC service behind TLS that verifies client certificates if given, as istiod's port 15012.
class ServedByTls {
 public:
  ServedByTls(grpc::Service& service, TestCa& ca, const std::string& client_roots) {
    auto key = make_key(KeyKind::kEcP256);
    grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = client_roots;
    tls.pem_key_cert_pairs.push_back(
        {std::string(key->reveal()),
         ca.server_certificate(std::string(key->reveal()), kCaName, around(std::chrono::system_clock::now())) +
             ca.intermediate_pem()});
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port);
    builder.RegisterService(&service);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~ServedByTls() { server_->Shutdown(std::chrono::system_clock::now()); }
  ServedByTls(const ServedByTls&) = delete;
  ServedByTls& operator=(const ServedByTls&) = delete;

  const std::string& address() const { return address_; }

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

inline std::string header_of(const grpc::ServerContext& context, const char* name) {
  const auto found = context.client_metadata().find(name);
  return found == context.client_metadata().end() ? std::string()
                                                  : std::string(found->second.data(), found->second.size());
}

// What: asks one CA for one certificate.
class CaFixture : public ::testing::Test {
 protected:
  CaFixture() : csr(*make_csr(key, kSpiffe)) {
    options.server_name = kCaName;
    options.roots = [this] { return ca.root_pem(); };
  }

  virtual std::unique_ptr<CaProtocol> protocol() const = 0;

  CaClient::Request request(const std::string& token, IdentityPtr client) const {
    CaClient::Request out;
    out.csr_pem = csr;
    out.ttl = std::chrono::hours(1);
    out.token = Secret(token);
    out.client = std::move(client);
    out.spiffe_id = kSpiffe;
    return out;
  }

  Result<CaClient::Answer> sign(const std::string& token = "jwt", IdentityPtr client = nullptr) {
    GrpcCa asked(loop, worker, metrics, protocol(), options);
    return sign_with(asked, request(token, std::move(client)));
  }

  Result<CaClient::Answer> sign_with(CaClient& asked, CaClient::Request what) {
    std::optional<Result<CaClient::Answer>> out;
    const auto timeout = loop.after(std::chrono::seconds(20), [this] { loop.stop(); });
    asked.sign(std::move(what), [&](Result<CaClient::Answer> answer) {
      out.emplace(std::move(answer));
      loop.stop();
    });
    loop.context().restart();
    loop.run();
    if (!out) return Error(Code::kUnknown, "test", "no answer in time");
    return std::move(*out);
  }

  AsioLoop loop;
  ThreadWorker worker;
  Metrics metrics;
  TestCa ca{"mesh"};
  TestCa foreign{"foreign"};
  Secret key = *make_key(KeyKind::kEcP256);
  std::string csr;
  GrpcCa::Options options;
};

}  // namespace hawser::certs::test
