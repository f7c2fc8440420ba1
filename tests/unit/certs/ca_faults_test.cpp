// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <functional>

#include "ca_fixture.h"
#include "certs/ca_istio.h"
#include "istio/security/v1alpha1/ca.grpc.pb.h"

// What lies between a CA and us, and what CAs get wrong.
namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;
using test::around;
using test::kCaName;
using test::kSpiffe;
using test::OddServer;
using ::testing::HasSubstr;

class FaultyServer final : public istio::v1::auth::IstioCertificateService::Service {
 public:
  using Reply = std::function<void(const std::string& csr, IstioCertificateResponse& response)>;
  FaultyServer(test::TestCa& ca, Reply reply) : reply_(std::move(reply)), served_(*this, ca, ca.root_pem()) {}

  grpc::Status CreateCertificate(grpc::ServerContext*, const IstioCertificateRequest* request,
                                 IstioCertificateResponse* response) override {
    reply_(request->csr(), *response);
    return grpc::Status::OK;
  }
  const std::string& address() const { return served_.address(); }

 private:
  Reply reply_;
  test::ServedByTls served_;
};

class CaFaultsTest : public test::CaFixture {
 protected:
  CaFaultsTest() { options.deadline = 1s; }

  std::unique_ptr<CaProtocol> protocol() const override { return make_istio_protocol({"Kubernetes", ""}); }

  std::unique_ptr<OddServer> odd(OddServer::Manner manner, std::optional<test::Validity> validity = {}) {
    const std::string server_key(make_key(KeyKind::kEcP256)->reveal());
    const auto leaf = ca.server_certificate(server_key, kCaName, validity.value_or(around(loop.wall())));
    auto server = std::make_unique<OddServer>(manner, server_key, leaf + ca.intermediate_pem());
    options.dial = {server->address()};
    return server;
  }

  // What becomes of an answer: the CA client's part of it, and the acceptance.
  Result<IdentityPtr> accepted(const FaultyServer& server) {
    options.dial = {server.address()};
    options.deadline = 10s;
    auto answer = sign();
    if (!answer) return answer.error();
    return accept_answer(Secret::copy_of(key.reveal()), *answer, {kSpiffe, {}}, loop.wall());
  }

  std::string leaf_for(const std::string& request, const std::string& id = kSpiffe) {
    return ca.sign_csr(request, id, around(loop.wall()));
  }
};

TEST_F(CaFaultsTest, AGoAwayIsTriedAgainLater) {
  const auto server = odd(OddServer::Manner::kGoAway);
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-013") << answer.error().to_string();
  EXPECT_TRUE(answer.error().retryable());
}

// The handshake is well, and then nothing comes: a server that hangs, or a connection that a firewall forgot.
TEST_F(CaFaultsTest, ASilentServerEndsWithTheDeadline) {
  const auto server = odd(OddServer::Manner::kMute);
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(answer.error().retryable());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 8s);
}

TEST_F(CaFaultsTest, ABlackHoleIsToldAsUnreachable) {
  test::PlainServer mute(test::PlainServer::Manner::kMute);
  options.dial = {mute.address()};
  options.probe_timeout = 500ms;
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-003") << answer.error().to_string();
  EXPECT_THAT(answer.error().message(), HasSubstr(mute.address()));
}

TEST_F(CaFaultsTest, AConnectionThatIsClosedAtOnceIsToldAsDropped) {
  test::PlainServer closing(test::PlainServer::Manner::kClose);
  options.dial = {closing.address()};
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-012") << answer.error().to_string();
  EXPECT_TRUE(answer.error().retryable());
}

TEST_F(CaFaultsTest, AnAlertIsQuoted) {
  const auto server = odd(OddServer::Manner::kWantsCertificate);
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-012") << answer.error().to_string();
  EXPECT_THAT(answer.error().message(), HasSubstr("alert"));
}

TEST_F(CaFaultsTest, AnExpiredServerIsNamed) {
  const auto server = odd(OddServer::Manner::kMute, test::Validity{loop.wall() - 48h, loop.wall() - 24h});
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-014") << answer.error().to_string();
  EXPECT_FALSE(answer.error().retryable());
}

TEST_F(CaFaultsTest, AnAnswerThatIsTooLargeIsntRead) {
  FaultyServer server(ca, [](const std::string&, IstioCertificateResponse& out) {
    out.add_cert_chain(std::string(5U << 20U, 'x'));
    out.add_cert_chain("x");
  });
  const auto identity = accepted(server);
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().id(), "HWS-CA-007") << identity.error().to_string();
  EXPECT_THAT(identity.error().message(), HasSubstr("4 MiB"));
}

TEST_F(CaFaultsTest, AChainOfHundredsIsRefused) {
  FaultyServer server(ca, [this](const std::string& request, IstioCertificateResponse& out) {
    out.add_cert_chain(leaf_for(request));
    for (int i = 0; i < 300; ++i) out.add_cert_chain(ca.intermediate_pem());
    out.add_cert_chain(ca.root_pem());
  });
  const auto identity = accepted(server);
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().id(), "HWS-CA-007") << identity.error().to_string();
}

TEST_F(CaFaultsTest, FewerThanTwoEntriesAreRefused) {
  for (const int entries : {0, 1}) {
    FaultyServer server(ca, [&](const std::string& request, IstioCertificateResponse& out) {
      if (entries == 1) out.add_cert_chain(leaf_for(request));
    });
    const auto identity = accepted(server);
    ASSERT_FALSE(identity);
    EXPECT_EQ(identity.error().id(), "HWS-CA-007");
    EXPECT_THAT(identity.error().message(), HasSubstr("has " + std::to_string(entries) + " entries"));
  }
}

TEST_F(CaFaultsTest, NonsenseInThePlaceOfCertificatesIsRefused) {
  FaultyServer server(ca, [](const std::string&, IstioCertificateResponse& out) {
    out.add_cert_chain("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    out.add_cert_chain("");
  });
  EXPECT_EQ(accepted(server).error().id(), "HWS-CA-007");
}

TEST_F(CaFaultsTest, AnotherIdentityIsRefused) {
  FaultyServer server(ca, [this](const std::string& request, IstioCertificateResponse& out) {
    out.add_cert_chain(leaf_for(request, "spiffe://cluster.local/ns/vms/sa/other"));
    out.add_cert_chain(ca.intermediate_pem());
    out.add_cert_chain(ca.root_pem());
  });
  const auto identity = accepted(server);
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().id(), "HWS-CA-008");
}

TEST_F(CaFaultsTest, AnRsaCertificateForAnEcKeyIsRefused) {
  const auto other = make_csr(*make_key(KeyKind::kRsa2048), kSpiffe);
  FaultyServer server(ca, [&](const std::string&, IstioCertificateResponse& out) {
    out.add_cert_chain(leaf_for(*other));
    out.add_cert_chain(ca.intermediate_pem());
    out.add_cert_chain(ca.root_pem());
  });
  const auto identity = accepted(server);
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().id(), "HWS-CA-009");
}

TEST_F(CaFaultsTest, EveryKindOfKeyIsAccepted) {
  for (const auto kind : {KeyKind::kEcP256, KeyKind::kEcP384, KeyKind::kRsa2048, KeyKind::kRsa3072}) {
    key = *make_key(kind);
    csr = *make_csr(key, kSpiffe);
    FaultyServer server(ca, [this](const std::string& request, IstioCertificateResponse& out) {
      out.add_cert_chain(leaf_for(request));
      out.add_cert_chain(ca.intermediate_pem());
      // as istiod sends it where cert-chain.pem has the root as well; the bundle is one entry
      out.add_cert_chain(ca.root_pem());
      out.add_cert_chain(ca.root_pem() + foreign.root_pem() + ca.root_pem());
    });
    const auto identity = accepted(server);
    ASSERT_TRUE(identity) << identity.error().to_string();
    EXPECT_EQ((*identity)->roots_pem, ca.root_pem() + foreign.root_pem());
    EXPECT_THAT((*identity)->chain_pem, testing::Not(HasSubstr(ca.root_pem())));
  }
}

}  // namespace
}  // namespace hawser::certs
