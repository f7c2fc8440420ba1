// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "certs/token_gce.h"
#include "certs/token_kubernetes.h"
#include "jwt.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const Loop::Wall kNow{1'700'000'000s};

HttpAnswer google(int status, const std::string& body) {
  return {status, {{"metadata-flavor", "Google"}}, Secret(body)};
}

TEST(GceAnswer, IsATokenForOurAudience) {
  const std::string token = test::jwt_for("istio-ca", kNow, 1h);
  const auto parsed = parse_identity_answer(google(200, token), "istio-ca", kNow);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->text.reveal(), token);
  EXPECT_EQ(parsed->expires, kNow + 1h);
}

TEST(GceAnswer, FromAnybodyElseIsRefusedWhateverItSays) {
  const std::string token = test::jwt_for("istio-ca", kNow, 1h);
  for (const char* flavor : {"", "Other", "google"}) {
    HttpAnswer answer{200, {{"metadata-flavor", flavor}}, Secret(token)};
    EXPECT_EQ(parse_identity_answer(answer, "istio-ca", kNow).error().id(), "HWS-ID-034") << flavor;
  }
  EXPECT_EQ(parse_identity_answer({404, {}, Secret()}, "istio-ca", kNow).error().id(), "HWS-ID-034");
}

TEST(GceAnswer, ARefusalNamesItsFixAndWhetherItPasses) {
  struct Case {
    int status;
    const char* id;
    bool passes;
  };
  for (const auto& [status, id, passes] :
       {Case{404, "HWS-ID-035", false}, Case{403, "HWS-ID-035", false}, Case{429, "HWS-ID-036", true},
        Case{503, "HWS-ID-036", true}, Case{302, "HWS-ID-036", false}, Case{204, "HWS-ID-036", false}}) {
    const auto refused = parse_identity_answer(google(status, "x"), "istio-ca", kNow);
    ASSERT_FALSE(refused) << status;
    EXPECT_EQ(refused.error().id(), id) << status;
    EXPECT_EQ(refused.error().retryable(), passes) << status;
    EXPECT_FALSE(refused.error().hint().empty()) << status;
  }
}

TEST(GceAnswer, ATokenThatIsntAsAskedIsRefused) {
  const auto id_of = [](const std::string& body) {
    const auto parsed = parse_identity_answer(google(200, body), "istio-ca", kNow);
    return parsed ? std::string("taken") : parsed.error().id();
  };
  EXPECT_EQ(id_of(test::jwt_for("other", kNow, 1h)), "HWS-ID-037");
  EXPECT_EQ(id_of(test::jwt_for("istio-ca", kNow - 2h, 1h)), "HWS-ID-037");
  EXPECT_EQ(id_of(test::jwt(R"({"aud":"istio-ca"})")), "HWS-ID-037");
  EXPECT_EQ(id_of("<html>log in</html>"), "HWS-ID-037");
  EXPECT_EQ(id_of(""), "HWS-ID-037");
}

TEST(MetadataAddress, IsGooglesVariableOrTheAddressItself) {
  EXPECT_EQ(parse_metadata_address("")->host, "169.254.169.254");
  EXPECT_EQ(parse_metadata_address("")->port, 80);
  EXPECT_EQ(parse_metadata_address("metadata.google.internal")->host, "metadata.google.internal");
  EXPECT_EQ(parse_metadata_address("10.0.0.1:8080")->port, 8080);
  EXPECT_EQ(parse_metadata_address("[fd20:ce::254]:81")->host, "fd20:ce::254");
  EXPECT_EQ(parse_metadata_address("[fd20:ce::254]:81")->port, 81);
  EXPECT_EQ(parse_metadata_address("fd20:ce::254")->host, "fd20:ce::254");
  for (const char* bad : {":80", "a:", "a:0", "a:70000", "a:8x", "http://a", "a b", "a/b"})
    EXPECT_FALSE(parse_metadata_address(bad)) << bad;
}

HttpAnswer made(const std::string& token) {
  return {201, {}, Secret(R"({"kind":"TokenRequest","status":{"token":")" + token + R"("}})")};
}

TEST(TokenRequestAnswer, HoldsAToken) {
  const std::string token = test::jwt_for("istio-ca", kNow, 1h);
  const auto parsed = parse_token_request_answer(made(token), "istio-ca");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->text.reveal(), token);
  for (const HttpAnswer& answer :
       {made(test::jwt_for("other", kNow, 1h)), made("opaque"), made(""), HttpAnswer{200, {}, Secret("<html>")},
        HttpAnswer{200, {}, Secret(R"({"status":{"token":7}})")}, HttpAnswer{200, {}, Secret(R"({"status":[]})")}})
    EXPECT_EQ(parse_token_request_answer(answer, "istio-ca").error().id(), "HWS-ID-046") << answer.body.reveal();
}

TEST(TokenRequestAnswer, ARefusalIsToldInTheServersWordsButNothingSecret) {
  const std::string secret(70, 's');
  const std::string body = R"({"kind":"Status","message":"serviceaccounts \"web\" is forbidden: \u001b[31m )" + secret +
                           R"( no","reason":"Forbidden","code":403})";
  const auto refused = parse_token_request_answer({403, {}, Secret(body)}, "istio-ca");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().id(), "HWS-ID-045");
  EXPECT_FALSE(refused.error().retryable());
  EXPECT_THAT(refused.error().to_string(),
              AllOf(HasSubstr("serviceaccounts \"web\" is forbidden"), Not(HasSubstr(secret)), Not(HasSubstr("\x1b")),
                    HasSubstr("serviceaccounts/token")));
  EXPECT_THAT(parse_token_request_answer({404, {}, Secret("{}")}, "a").error().hint(),
              HasSubstr("workload.service_account"));
  EXPECT_TRUE(parse_token_request_answer({503, {}, Secret("")}, "a").error().retryable());
  EXPECT_TRUE(parse_token_request_answer({429, {}, Secret(std::string(100, '['))}, "a").error().retryable());
}

TEST(PluginCredential, IsATokenOrACertificate) {
  EXPECT_EQ(parse_plugin_credential(R"({"status":{"token":"t"}})")->token.reveal(), "t");
  const auto pair = parse_plugin_credential(R"({"status":{"clientCertificateData":"C","clientKeyData":"K"}})");
  ASSERT_TRUE(pair);
  EXPECT_EQ(pair->chain_pem + std::string(pair->key.reveal()), "CK");
  for (const char* bad : {"", "token", "[]", "{}", R"({"status":{}})", R"({"status":{"clientCertificateData":"C"}})"})
    EXPECT_EQ(parse_plugin_credential(bad).error().id(), "HWS-ID-047") << bad;
}

}  // namespace
}  // namespace hawser::certs
