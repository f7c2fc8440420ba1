// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_istio.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "ca_fixture.h"
#include "istio/security/v1alpha1/ca.grpc.pb.h"
#include "tls_server.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;
using istio::v1::auth::IstioCertificateService;
using test::around;
using test::kCaName;
using test::kSpiffe;
using test::TestCa;
using ::testing::HasSubstr;

// A CA behind TLS that verifies client certificates if given.
class IstioServer final : public IstioCertificateService::Service {
 public:
  struct Seen {
    std::string token, cluster, tenant, cert_signer;
    bool certificate = false;
    std::int64_t ttl = 0;
  };

  IstioServer(TestCa& ca, const std::string& client_roots) : ca_(ca), served_(*this, ca, client_roots) {}

  const std::string& address() const { return served_.address(); }

  grpc::Status CreateCertificate(grpc::ServerContext* context, const IstioCertificateRequest* request,
                                 IstioCertificateResponse* response) override {
    const std::lock_guard lock(mutex_);
    const auto value = [&](const char* name) { return test::header_of(*context, name); };
    seen_.push_back({value("authorization"), value("clusterid"), value("x-tenant"), "unset",
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
  std::mutex mutex_;
  std::vector<Seen> seen_;
  grpc::Status status_;
  bool single_ = false;
  bool hold_ = false;
  std::string extra_root_;
  test::ServedByTls served_;
};

class IstioCaTest : public test::CaFixture {
 protected:
  std::unique_ptr<CaProtocol> protocol() const override { return make_istio_protocol(settings); }

  IstioCaSettings settings{"Kubernetes", ""};
};

TEST_F(IstioCaTest, SignsWithATokenAndSendsWhatIstiodLooksAt) {
  IstioServer server(ca, ca.root_pem());
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

TEST_F(IstioCaTest, SendsConfiguredHeadersAndTheCertSigner) {
  IstioServer server(ca, ca.root_pem());
  options.dial = {server.address()};
  options.headers = {{"x-tenant", "blue"}};
  settings.cert_signer = "clusterissuers.cert-manager.io/vms";
  ASSERT_TRUE(sign());
  EXPECT_EQ(server.seen()[0].tenant, "blue");
  EXPECT_EQ(server.seen()[0].cert_signer, "clusterissuers.cert-manager.io/vms");
}

// gRPC ends the program over such a header.
TEST_F(IstioCaTest, RefusesATokenThatCantBeSent) {
  IstioServer server(ca, ca.root_pem());
  options.dial = {server.address()};
  const auto answer = sign("jwt\nx-other: y");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-019");
  EXPECT_THAT(answer.error().to_string(), testing::Not(HasSubstr("x-other")));
  settings.cluster_id = "Kuber\nnetes";
  EXPECT_EQ(sign().error().id(), "HWS-CA-019");
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(IstioCaTest, ShowsCertificateAndToken) {
  IstioServer server(ca, ca.root_pem());
  options.dial = {server.address()};
  ASSERT_TRUE(sign("jwt", ca.identity(kSpiffe, around(loop.wall()))));
  EXPECT_TRUE(server.seen()[0].certificate);
  EXPECT_EQ(server.seen()[0].token, "Bearer jwt");
  ASSERT_TRUE(sign("", ca.identity(kSpiffe, around(loop.wall()))));
  EXPECT_TRUE(server.seen()[1].certificate);
  EXPECT_EQ(server.seen()[1].token, "");
}

TEST_F(IstioCaTest, DoesNotShowAnExpiredCertificate) {
  IstioServer server(ca, ca.root_pem());
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
  IstioServer server(ca, ca.root_pem());
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
  IstioServer server(ca, ca.root_pem());
  options.dial = {server.address()};
  options.roots = [this] { return foreign.root_pem(); };
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-001");
  EXPECT_FALSE(answer.error().retryable());
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(IstioCaTest, NamesAWrongServerName) {
  IstioServer server(ca, ca.root_pem());
  options.dial = {server.address()};
  options.server_name = "other.example";
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-002");
  EXPECT_THAT(answer.error().message(), HasSubstr("other.example"));
  EXPECT_THAT(answer.error().message(), HasSubstr(kCaName));
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
  IstioServer server(ca, ca.root_pem());
  options.dial = {closed.address(), server.address()};
  const auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
}

TEST_F(IstioCaTest, TellsTheAnswersOfTheCaApart) {
  IstioServer server(ca, ca.root_pem());
  options.dial = {server.address()};
  struct Row {
    grpc::StatusCode code;
    std::string id;
    bool retryable;
  };
  const std::vector<Row> table = {{grpc::StatusCode::UNAUTHENTICATED, "HWS-CA-004", false},
                                  {grpc::StatusCode::PERMISSION_DENIED, "HWS-CA-005", false},
                                  {grpc::StatusCode::INVALID_ARGUMENT, "HWS-CA-006", false},
                                  {grpc::StatusCode::FAILED_PRECONDITION, "HWS-CA-006", false},
                                  {grpc::StatusCode::OUT_OF_RANGE, "HWS-CA-006", false},
                                  {grpc::StatusCode::UNIMPLEMENTED, "HWS-CA-006", false},
                                  {grpc::StatusCode::CANCELLED, "HWS-CA-013", true},
                                  {grpc::StatusCode::DEADLINE_EXCEEDED, "HWS-CA-013", true},
                                  {grpc::StatusCode::RESOURCE_EXHAUSTED, "HWS-CA-013", true},
                                  {grpc::StatusCode::ABORTED, "HWS-CA-013", true},
                                  {grpc::StatusCode::INTERNAL, "HWS-CA-013", true},
                                  {grpc::StatusCode::UNAVAILABLE, "HWS-CA-013", true}};
  for (const auto& [code, id, retryable] : table) {
    server.answer_with({code, "because"});
    const auto answer = sign();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().id(), id);
    EXPECT_EQ(answer.error().retryable(), retryable) << id;
    EXPECT_EQ(static_cast<int>(answer.error().code()), static_cast<int>(code));
    EXPECT_THAT(answer.error().message(), HasSubstr("because"));
    EXPECT_FALSE(answer.error().hint().empty());
  }
}

TEST_F(IstioCaTest, RefusesAnAnswerWithoutRoots) {
  IstioServer server(ca, ca.root_pem());
  server.answer_single();
  options.dial = {server.address()};
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-007");
}

TEST_F(IstioCaTest, EndsAnAttemptAtItsDeadline) {
  IstioServer server(ca, ca.root_pem());
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
  options.roots = [] { return std::string(); };
  EXPECT_EQ(sign().error().id(), "HWS-CA-001");
}

TEST_F(IstioCaTest, MayBeCancelledAndDestroyedDuringACall) {
  IstioServer server(ca, ca.root_pem());
  server.hold();
  options.dial = {server.address()};
  bool answered = false;
  {
    GrpcCa client(loop, worker, metrics, protocol(), options);
    client.sign(request("jwt", nullptr), [&](const auto&) { answered = true; });
    client.cancel();
    client.sign(request("jwt", nullptr), [&](const auto&) { answered = true; });
  }
  const auto end = loop.after(50ms, [this] { loop.stop(); });
  loop.run();
  EXPECT_FALSE(answered);
}

}  // namespace
}  // namespace hawser::certs
