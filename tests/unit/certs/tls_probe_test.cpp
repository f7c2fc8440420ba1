// SPDX-License-Identifier: Apache-2.0
#include "certs/tls_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "certs/csr.h"
#include "test_ca.h"
#include "tls_server.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using test::TestCa;
using test::TlsServer;
using ::testing::HasSubstr;

constexpr auto kTimeout = 3s;

struct TlsProbe : ::testing::Test {
  TestCa ca{"mesh"};
  TestCa foreign{"foreign"};
  const Loop::Wall now = std::chrono::system_clock::now();
  Secret key = *make_key(KeyKind::kEcP256);

  std::string chain(test::Validity validity) {
    return ca.server_certificate(std::string(key.reveal()), "istiod.test", validity) + ca.intermediate_pem();
  }
};

TEST_F(TlsProbe, FindsNothingWrongWithAGoodServer) {
  TlsServer server(std::string(key.reveal()), chain(test::around(now)));
  const auto found = probe_tls({server.address(), "istiod.test", ca.root_pem()}, kTimeout);
  EXPECT_EQ(found.cause, TlsCause::kNone) << found.detail;
}

TEST_F(TlsProbe, TellsAWrongRootFromAWrongName) {
  TlsServer server(std::string(key.reveal()), chain(test::around(now)));
  EXPECT_EQ(probe_tls({server.address(), "istiod.test", foreign.root_pem()}, kTimeout).cause, TlsCause::kWrongRoot);
  EXPECT_EQ(probe_tls({server.address(), "other.test", foreign.root_pem()}, kTimeout).cause, TlsCause::kWrongRoot);
  const auto name = probe_tls({server.address(), "other.test", ca.root_pem()}, kTimeout);
  EXPECT_EQ(name.cause, TlsCause::kWrongName);
  EXPECT_EQ(name.detail, "the server's certificate is for istiod.test, not for other.test");
  EXPECT_EQ(probe_tls({server.address(), "127.0.0.1", ca.root_pem()}, kTimeout).cause, TlsCause::kWrongName);
}

TEST_F(TlsProbe, NamesAServerCertificateThatIsOutOfDate) {
  TlsServer expired(std::string(key.reveal()), chain({now - 2h, now - 1h}));
  EXPECT_EQ(probe_tls({expired.address(), "istiod.test", ca.root_pem()}, kTimeout).cause, TlsCause::kOutOfDate);
  TlsServer early(std::string(key.reveal()), chain({now + 1h, now + 2h}));
  EXPECT_EQ(probe_tls({early.address(), "istiod.test", ca.root_pem()}, kTimeout).cause, TlsCause::kOutOfDate);
}

TEST_F(TlsProbe, NamesWhatDoesNotListenSpeakOrAnswer) {
  test::PlainServer closed(test::PlainServer::Manner::kRefuse);
  const auto refused = probe_tls({closed.address(), "istiod.test", ca.root_pem()}, kTimeout);
  EXPECT_EQ(refused.cause, TlsCause::kUnreachable);
  EXPECT_THAT(refused.detail, HasSubstr("refused"));
  EXPECT_THAT(refused.detail, HasSubstr(closed.address()));

  test::PlainServer plain(test::PlainServer::Manner::kTalk);
  EXPECT_EQ(probe_tls({plain.address(), "istiod.test", ca.root_pem()}, kTimeout).cause, TlsCause::kNotTls);

  test::PlainServer hanging_up(test::PlainServer::Manner::kClose);
  EXPECT_EQ(probe_tls({hanging_up.address(), "istiod.test", ca.root_pem()}, kTimeout).cause, TlsCause::kRefused);

  test::PlainServer mute(test::PlainServer::Manner::kMute);
  const auto before = std::chrono::steady_clock::now();
  const auto silent = probe_tls({mute.address(), "istiod.test", ca.root_pem()}, 200ms);
  EXPECT_EQ(silent.cause, TlsCause::kUnreachable);
  EXPECT_THAT(silent.detail, HasSubstr("doesn't answer the TLS handshake"));
  EXPECT_LT(std::chrono::steady_clock::now() - before, 2s);
}

TEST_F(TlsProbe, SurvivesNonsense) {
  for (const char* address : {"", ":", "x", "127.0.0.1:", "[::1", "127.0.0.1:99999", "127.0.0.1:port"})
    EXPECT_EQ(probe_tls({address, "istiod.test", ca.root_pem()}, 200ms).cause, TlsCause::kUnreachable) << address;
}

}  // namespace
}  // namespace hawser::certs
