// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_istio.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "base/asio_loop.h"
#include "certs/csr.h"
#include "istio/security/v1alpha1/ca.grpc.pb.h"
#include "test_ca.h"
#include "tls_server.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;
using istio::v1::auth::IstioCertificateService;
using test::around;
using test::kSpiffe;
using test::TestCa;
using ::testing::HasSubstr;

constexpr char kName[] = "istiod.test";

// A CA behind TLS that verifies client certificates if given.
class Server final : public IstioCertificateService::Service {
 public:
  struct Seen {
    std::string token, cluster, authority_peer, cert_signer;
    bool certificate = false;
    std::int64_t ttl = 0;
  };

  Server(TestCa& ca, const std::string& client_roots) : ca_(ca) {
    auto key = make_key(KeyKind::kEcP256);
    grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = client_roots;
    tls.pem_key_cert_pairs.push_back(
        {std::string(key->reveal()),
         ca.server_certificate(std::string(key->reveal()), kName, around(std::chrono::system_clock::now())) +
             ca.intermediate_pem()});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Server() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  grpc::Status CreateCertificate(grpc::ServerContext* context, const IstioCertificateRequest* request,
                                 IstioCertificateResponse* response) override {
    const std::lock_guard lock(mutex_);
    const auto value = [&](const char* name) {
      const auto found = context->client_metadata().find(name);
      return found == context->client_metadata().end() ? std::string()
                                                       : std::string(found->second.data(), found->second.size());
    };
    seen_.push_back({value("authorization"), value("clusterid"), "", "unset",
                     context->auth_context()->IsPeerAuthenticated(), request->validity_duration()});
    const auto& fields = request->metadata().fields();
    if (auto it = fields.find("CertSigner"); it != fields.end()) seen_.back().cert_signer = it->second.string_value();
    if (hold_)
      while (!context->IsCancelled()) std::this_thread::sleep_for(1ms);
    if (!status_.ok()) return status_;
    response->add_cert_chain(ca_.sign_csr(request->csr(), kSpiffe, around(std::chrono::system_clock::now())));
    if (single_) return grpc::Status::OK;
    response->add_cert_chain(ca_.intermediate_pem());
    response->add_cert_chain(ca_.root_pem());
    response->add_cert_chain(ca_.root_pem() + extra_root_);
    return grpc::Status::OK;
  }

  void answer_with(grpc::Status status) {
    const std::lock_guard lock(mutex_);
    status_ = std::move(status);
  }
  void answer_single() { single_ = true; }
  void hold() { hold_ = true; }
  void add_root(const std::string& pem) { extra_root_ = pem; }
  std::vector<Seen> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  TestCa& ca_;
  int port_ = 0;
  std::mutex mutex_;
  std::vector<Seen> seen_;
  grpc::Status status_;
  bool single_ = false;
  bool hold_ = false;
  std::string extra_root_;
  std::unique_ptr<grpc::Server> server_;
};

class IstioCaTest : public ::testing::Test {
 protected:
  IstioCaTest() : csr(*make_csr(key, kSpiffe)) {
    options.server_name = kName;
    options.roots_pem = ca.root_pem();
    options.cluster_id = "Kubernetes";
  }

  Result<CaClient::Answer> sign(const std::string& token = "jwt", IdentityPtr client = nullptr) {
    IstioCa client_under_test(loop, worker, metrics, options);
    std::optional<Result<CaClient::Answer>> out;
    const auto timeout = loop.after(20s, [this] { loop.stop(); });
    CaClient::Request request;
    request.csr_pem = csr;
    request.ttl = 1h;
    request.token = Secret(token);
    request.client = std::move(client);
    client_under_test.sign(std::move(request), [&](Result<CaClient::Answer> answer) {
      out = std::move(answer);
      loop.stop();
    });
    loop.context().restart();
    loop.run();
    if (!out) return Error(Code::kUnknown, "test", "no answer in time");
    return *out;
  }

  AsioLoop loop;
  ThreadWorker worker;
  Metrics metrics;
  TestCa ca{"mesh"};
  TestCa foreign{"foreign"};
  Secret key = *make_key(KeyKind::kEcP256);
  std::string csr;
  IstioCa::Options options;
};

TEST_F(IstioCaTest, SignsWithATokenAndSendsWhatIstiodLooksAt) {
  Server server(ca, ca.root_pem());
  server.add_root(foreign.root_pem());
  options.dial = {server.address()};
  const auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
  const auto seen = server.seen();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].token, "Bearer jwt");
  EXPECT_EQ(seen[0].cluster, "Kubernetes");
  EXPECT_EQ(seen[0].cert_signer, "");
  EXPECT_EQ(seen[0].ttl, 3600);
  EXPECT_FALSE(seen[0].certificate);
  const auto identity = accept_answer(std::move(key), *answer, {kSpiffe, {}}, loop.wall());
  ASSERT_TRUE(identity) << identity.error().to_string();
  EXPECT_THAT((*identity)->roots_pem, HasSubstr(foreign.root_pem()));
}

TEST_F(IstioCaTest, ShowsCertificateAndToken) {
  Server server(ca, ca.root_pem());
  options.dial = {server.address()};
  ASSERT_TRUE(sign("jwt", ca.identity(kSpiffe, around(loop.wall()))));
  EXPECT_TRUE(server.seen()[0].certificate);
  EXPECT_EQ(server.seen()[0].token, "Bearer jwt");
  ASSERT_TRUE(sign("", ca.identity(kSpiffe, around(loop.wall()))));
  EXPECT_TRUE(server.seen()[1].certificate);
  EXPECT_EQ(server.seen()[1].token, "");
}

TEST_F(IstioCaTest, DoesNotShowAnExpiredCertificate) {
  Server server(ca, ca.root_pem());
  options.dial = {server.address()};
  const auto expired = ca.identity(kSpiffe, {loop.wall() - 2h, loop.wall() - 1h});
  ASSERT_TRUE(sign("jwt", expired));
  EXPECT_FALSE(server.seen()[0].certificate);
  const auto nothing = sign("", expired);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().id(), "HWS-CA-004");
  EXPECT_EQ(server.seen().size(), 1U);
}

// The stock agent fails for ever here: its certificate is of a root that the server no longer trusts.
TEST_F(IstioCaTest, FallsBackToTheTokenWhenTheHandshakeWithTheCertificateFails) {
  Server server(ca, ca.root_pem());
  options.dial = {server.address()};
  const auto answer = sign("jwt", foreign.identity(kSpiffe, around(loop.wall())));
  ASSERT_TRUE(answer) << answer.error().to_string();
  ASSERT_EQ(server.seen().size(), 1U);
  EXPECT_FALSE(server.seen()[0].certificate);
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_ca_without_certificate_total 1"));
  const auto alone = sign("", foreign.identity(kSpiffe, around(loop.wall())));
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().id(), "HWS-CA-012");
}

TEST_F(IstioCaTest, NamesAWrongRoot) {
  Server server(ca, ca.root_pem());
  options.dial = {server.address()};
  options.roots_pem = foreign.root_pem();
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-001");
  EXPECT_FALSE(answer.error().retryable());
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(IstioCaTest, NamesAWrongServerName) {
  Server server(ca, ca.root_pem());
  options.dial = {server.address()};
  options.server_name = "other.example";
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-002");
  EXPECT_THAT(answer.error().message(), HasSubstr("other.example"));
  EXPECT_THAT(answer.error().message(), HasSubstr(kName));
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(IstioCaTest, NamesWhatItCantReach) {
  test::PlainServer closed(test::PlainServer::Manner::kRefuse);
  options.dial = {closed.address()};
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-003");
  EXPECT_THAT(answer.error().message(), HasSubstr(closed.address()));
  EXPECT_TRUE(answer.error().retryable());
}

TEST_F(IstioCaTest, NamesAServerWithoutTls) {
  test::PlainServer plain(test::PlainServer::Manner::kTalk);
  options.dial = {plain.address()};
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-015");
}

TEST_F(IstioCaTest, TriesTheNextAddress) {
  test::PlainServer closed(test::PlainServer::Manner::kRefuse);
  Server server(ca, ca.root_pem());
  options.dial = {closed.address(), server.address()};
  const auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
}

TEST_F(IstioCaTest, TellsTheAnswersOfTheCaApart) {
  Server server(ca, ca.root_pem());
  options.dial = {server.address()};
  const std::vector<std::pair<grpc::StatusCode, std::string>> table = {
      {grpc::StatusCode::UNAUTHENTICATED, "HWS-CA-004"},  {grpc::StatusCode::PERMISSION_DENIED, "HWS-CA-005"},
      {grpc::StatusCode::INVALID_ARGUMENT, "HWS-CA-006"}, {grpc::StatusCode::UNIMPLEMENTED, "HWS-CA-006"},
      {grpc::StatusCode::INTERNAL, "HWS-CA-013"},         {grpc::StatusCode::UNAVAILABLE, "HWS-CA-013"}};
  for (const auto& [code, id] : table) {
    server.answer_with({code, "because"});
    const auto answer = sign();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().id(), id);
    EXPECT_EQ(static_cast<int>(answer.error().code()), static_cast<int>(code));
    EXPECT_THAT(answer.error().message(), HasSubstr("because"));
    EXPECT_FALSE(answer.error().hint().empty());
  }
}

TEST_F(IstioCaTest, RefusesAnAnswerWithoutRoots) {
  Server server(ca, ca.root_pem());
  server.answer_single();
  options.dial = {server.address()};
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-007");
}

TEST_F(IstioCaTest, EndsAnAttemptAtItsDeadline) {
  Server server(ca, ca.root_pem());
  server.hold();
  options.dial = {server.address()};
  options.deadline = 300ms;
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-013");
  EXPECT_EQ(answer.error().code(), Code::kDeadlineExceeded);
}

TEST_F(IstioCaTest, NeverTrustsTheSystemsRoots) {
  options.dial = {"127.0.0.1:1"};
  options.roots_pem.clear();
  EXPECT_EQ(sign().error().id(), "HWS-CA-001");
}

TEST_F(IstioCaTest, MayBeCancelledAndDestroyedDuringACall) {
  Server server(ca, ca.root_pem());
  server.hold();
  options.dial = {server.address()};
  bool answered = false;
  {
    IstioCa client(loop, worker, metrics, options);
    client.sign({csr, 1h, Secret("jwt"), nullptr}, [&](const auto&) { answered = true; });
    client.cancel();
    client.sign({csr, 1h, Secret("jwt"), nullptr}, [&](const auto&) { answered = true; });
  }
  const auto end = loop.after(50ms, [this] { loop.stop(); });
  loop.run();
  EXPECT_FALSE(answered);
}

}  // namespace
}  // namespace hawser::certs
