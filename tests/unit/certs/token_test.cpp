// SPDX-License-Identifier: Apache-2.0
#include "certs/token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "certs/utc.h"
#include "jwt.h"

namespace hawser::certs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(TokenClaims, AreReadAsKubernetesAndGoogleWriteThem) {
  const auto kubernetes = token_claims(test::jwt(
      R"({"aud":["istio-ca","other"],"exp":1700003600,"iat":1700000000,"iss":"https://kubernetes.default.svc","sub":"system:serviceaccount:a:b"})"));
  ASSERT_TRUE(kubernetes);
  EXPECT_THAT(kubernetes->audiences, ElementsAre("istio-ca", "other"));
  EXPECT_EQ(kubernetes->subject, "system:serviceaccount:a:b");
  EXPECT_EQ(kubernetes->issued, wall_of(1'700'000'000));
  EXPECT_EQ(kubernetes->expires, wall_of(1'700'003'600));
  const auto google = token_claims(test::jwt(R"({"aud":"cluster.local","exp":1700003600.5})"));
  ASSERT_TRUE(google);
  EXPECT_THAT(google->audiences, ElementsAre("cluster.local"));
  EXPECT_FALSE(google->issued);
}

TEST(TokenClaims, OfWhatIsNoJwtAreNone) {
  for (const std::string text : {"", "a", "a.b", "..", "a.!!.c", "a.bm90IGpzb24.c", "a.WzFd.c"})
    EXPECT_FALSE(token_claims(text)) << text;
  const auto odd = token_claims(test::jwt(R"({"aud":7,"exp":"soon","iat":1e300,"sub":["x"]})"));
  ASSERT_TRUE(odd);
  EXPECT_THAT(odd->audiences, IsEmpty());
  EXPECT_FALSE(odd->expires || odd->issued);
}

TEST(ParseToken, TakesOneWordOfAscii) {
  const auto token = parse_token("\r\n  s3cret-opaque/+= \n");
  ASSERT_TRUE(token);
  EXPECT_EQ(token->text.reveal(), "s3cret-opaque/+=");
  EXPECT_FALSE(token->expires) << "what isn't a JWT has no end that we know";
  for (const std::string text : {"", " \n", "two words", "line\nline", "caf\xc3\xa9"})
    EXPECT_FALSE(parse_token(text)) << text;
  EXPECT_FALSE(parse_token(std::string("a\0b", 3)));
}

// What the sources to come need: Azure's attested document and a TPM's quote hold the server's nonce, AWS's document
// comes with a signature and is bound to nothing.
class Cloud final : public TokenSource {
 public:
  explicit Cloud(bool binds) : binds_(binds) {}
  Traits traits() const override { return {"cloud", true, 0}; }
  Result<Token> attest(const Challenge& challenge) override {
    if (binds_ && challenge.nonce.empty())
      return Error(Code::kFailedPrecondition, "HWS-ID-020", "the document needs a nonce of the server's");
    return Token{Secret("document.signature." + (binds_ ? challenge.nonce : std::string("-"))), std::nullopt};
  }

 private:
  bool binds_;
};

TEST(TokenSource, BindsItsProofToTheServersNonceWhereItCan) {
  Cloud azure(true);
  EXPECT_FALSE(azure.read());
  EXPECT_EQ(azure.attest({"", "n-1"})->text.reveal(), "document.signature.n-1");
  EXPECT_EQ(azure.attest({"", "n-2"})->text.reveal(), "document.signature.n-2");
  Cloud aws(false);
  EXPECT_EQ(aws.attest({"", "n-1"})->text.reveal(), aws.read()->text.reveal());
}

}  // namespace
}  // namespace hawser::certs
