// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <mutex>

#include "ca_fixture.h"
#include "certs/ca_citadel.h"
#include "certs/ca_meshca.h"
#include "google/security/meshca/v1/meshca.grpc.pb.h"
#include "istio/security/v1alpha1/ca_service.grpc.pb.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using google::security::meshca::v1::MeshCertificateRequest;
using google::security::meshca::v1::MeshCertificateResponse;
using istio::v1::auth::CsrRequest;
using istio::v1::auth::CsrResponse;
using test::around;
using test::kSpiffe;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class Citadel final : public istio::v1::auth::IstioCAService::Service {
 public:
  explicit Citadel(test::TestCa& ca) : ca_(ca), served_(*this, ca, ca.root_pem()) {}

  grpc::Status HandleCSR(grpc::ServerContext* context, const CsrRequest* request, CsrResponse* response) override {
    const std::lock_guard lock(mutex_);
    seen_ = *request;
    token_ = test::header_of(*context, "authorization");
    if (refusal_) {
      *response = *refusal_;
      return grpc::Status::OK;
    }
    response->set_is_approved(true);
    response->set_signed_cert(ca_.sign_csr(request->csr_pem(), kSpiffe, around(std::chrono::system_clock::now())));
    response->set_cert_chain(ca_.intermediate_pem() + (with_root_ ? ca_.root_pem() : ""));
    return grpc::Status::OK;
  }

  void leave_root_out() { with_root_ = false; }
  void refuse(const CsrResponse& response) { refusal_ = response; }
  CsrRequest seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  std::string token() {
    const std::lock_guard lock(mutex_);
    return token_;
  }
  const std::string& address() const { return served_.address(); }

 private:
  test::TestCa& ca_;
  std::mutex mutex_;
  CsrRequest seen_;
  std::string token_;
  bool with_root_ = true;
  std::optional<CsrResponse> refusal_;
  test::ServedByTls served_;
};

class CitadelTest : public test::CaFixture {
 protected:
  CitadelTest() { options.dial = {server.address()}; }

  std::unique_ptr<CaProtocol> protocol() const override {
    return make_citadel_protocol({"Kubernetes", [this] { return known; }});
  }

  Citadel server{ca};
  KnownRoots known{ca.root_pem(), false};
};

TEST_F(CitadelTest, SignsWithATokenInHeaderAndRequest) {
  const auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(server.token(), "Bearer jwt");
  const auto seen = server.seen();
  EXPECT_EQ(seen.csr_pem(), csr);
  EXPECT_EQ(seen.node_agent_credential(), "jwt");
  EXPECT_EQ(seen.credential_type(), "jwt");
  EXPECT_EQ(seen.requested_ttl_minutes(), 60);
  const auto identity = accept_answer(std::move(key), *answer, {kSpiffe, {}}, loop.wall());
  ASSERT_TRUE(identity) << identity.error().to_string();
  EXPECT_EQ((*identity)->roots_pem, ca.root_pem());
  EXPECT_THAT((*identity)->chain_pem, HasSubstr(ca.intermediate_pem()));
}

TEST_F(CitadelTest, ShowsTheCertificateWhereThereIsNoToken) {
  const auto client = ca.identity(kSpiffe, around(loop.wall()));
  ASSERT_TRUE(sign("", client));
  EXPECT_EQ(server.token(), "");
  EXPECT_EQ(server.seen().node_agent_credential(), client->chain_pem);
  EXPECT_EQ(server.seen().credential_type(), "onprem");
}

TEST_F(CitadelTest, TrustsTheConfiguredRootWhereNoneIsSent) {
  server.leave_root_out();
  const auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->roots_pem, ca.root_pem());
}

TEST_F(CitadelTest, NeverMakesTheMachinesRootsThoseOfTheMesh) {
  server.leave_root_out();
  known = {"", true};
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-017");
  EXPECT_FALSE(answer.error().retryable());
}

TEST_F(CitadelTest, AsksForAtLeastAMinute) {
  auto short_lived = request("jwt", nullptr);
  short_lived.ttl = 90s;
  GrpcCa asked(loop, worker, metrics, protocol(), options);
  ASSERT_TRUE(sign_with(asked, std::move(short_lived)));
  EXPECT_EQ(server.seen().requested_ttl_minutes(), 2);
}

TEST_F(CitadelTest, TellsWhyARequestIsNotApproved) {
  CsrResponse refusal;
  server.refuse(refusal);
  auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-005");
  EXPECT_THAT(answer.error().message(), HasSubstr("isn't approved"));

  refusal.mutable_status()->set_code(16);
  refusal.mutable_status()->set_message("who are you?");
  server.refuse(refusal);
  answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-004");
  EXPECT_THAT(answer.error().message(), HasSubstr("who are you?"));
}

TEST_F(CitadelTest, RefusesAnApprovalWithoutACertificate) {
  CsrResponse empty;
  empty.set_is_approved(true);
  server.refuse(empty);
  EXPECT_EQ(sign().error().id(), "HWS-CA-007");
}

class MeshCa final : public google::security::meshca::v1::MeshCertificateService::Service {
 public:
  explicit MeshCa(test::TestCa& ca) : ca_(ca), served_(*this, ca, ca.root_pem()) {}

  grpc::Status CreateCertificate(grpc::ServerContext* context, const MeshCertificateRequest* request,
                                 MeshCertificateResponse* response) override {
    const std::lock_guard lock(mutex_);
    seen_.push_back(*request);
    headers_ = {test::header_of(*context, "authorization"), test::header_of(*context, "x-goog-request-params")};
    if (!status_.ok()) return status_;
    response->add_cert_chain(ca_.sign_csr(request->csr(), kSpiffe, around(std::chrono::system_clock::now())));
    response->add_cert_chain(ca_.intermediate_pem());
    response->add_cert_chain(ca_.root_pem());
    return grpc::Status::OK;
  }

  void answer_with(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    status_ = status;
  }
  std::vector<MeshCertificateRequest> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  std::vector<std::string> headers() {
    const std::lock_guard lock(mutex_);
    return headers_;
  }
  const std::string& address() const { return served_.address(); }

 private:
  test::TestCa& ca_;
  std::mutex mutex_;
  std::vector<MeshCertificateRequest> seen_;
  std::vector<std::string> headers_;
  grpc::Status status_;
  test::ServedByTls served_;
};

class MeshCaTest : public test::CaFixture {
 protected:
  MeshCaTest() { options.dial = {server.address()}; }

  std::unique_ptr<CaProtocol> protocol() const override { return make_meshca_protocol({"europe-west1-b"}); }

  MeshCa server{ca};
};

TEST_F(MeshCaTest, SignsWithItsRequestIdAndItsHeaders) {
  const auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_THAT(server.headers(), testing::ElementsAre("Bearer jwt", "location=locations/europe-west1-b"));
  const auto seen = server.seen().at(0);
  EXPECT_THAT(seen.request_id(), MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_EQ(seen.csr(), csr);
  EXPECT_EQ(seen.validity().seconds(), 3600);
  EXPECT_TRUE(accept_answer(std::move(key), *answer, {kSpiffe, {}}, loop.wall()));
}

// So that a repetition after a lost answer is no second certificate.
TEST_F(MeshCaTest, KeepsTheRequestIdForTheSameRequestOnly) {
  GrpcCa asked(loop, worker, metrics, protocol(), options);
  server.answer_with({grpc::StatusCode::UNAVAILABLE, "later"});
  EXPECT_FALSE(sign_with(asked, request("jwt", ca.identity(kSpiffe, around(loop.wall())))));
  server.answer_with(grpc::Status::OK);
  EXPECT_TRUE(sign_with(asked, request("jwt", nullptr)));
  csr = *make_csr(*make_key(KeyKind::kEcP256), kSpiffe);
  EXPECT_TRUE(sign_with(asked, request("jwt", nullptr)));
  const auto seen = server.seen();
  ASSERT_EQ(seen.size(), 4U);  // the first was repeated without the certificate
  EXPECT_EQ(seen[0].request_id(), seen[1].request_id());
  EXPECT_EQ(seen[0].request_id(), seen[2].request_id());
  EXPECT_NE(seen[0].request_id(), seen[3].request_id());
}

TEST_F(MeshCaTest, NamesTheServiceThatIsntThere) {
  Citadel other(ca);
  options.dial = {other.address()};
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-006");
  EXPECT_THAT(answer.error().message(), HasSubstr("google.security.meshca.v1.MeshCertificateService"));
}

}  // namespace
}  // namespace hawser::certs
