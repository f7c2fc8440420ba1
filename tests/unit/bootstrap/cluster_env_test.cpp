// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/cluster_env.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hawser::bootstrap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::string refusal(const std::string& text) {
  const auto parsed = parse_cluster_env(text, "/b/cluster.env");
  return parsed ? "accepted" : parsed.error().to_string();
}

TEST(ClusterEnv, ReadsWhatIstioctlWrites) {
  const auto parsed = parse_cluster_env("CA_ADDR='istiod-x.istio-system.svc:15012'\nISTIO_INBOUND_PORTS='*'\n", "e");
  ASSERT_TRUE(parsed);
  EXPECT_THAT(*parsed,
              ElementsAre(Pair("CA_ADDR", "istiod-x.istio-system.svc:15012"), Pair("ISTIO_INBOUND_PORTS", "*")));
}

TEST(ClusterEnv, FollowsTheShellsQuoting) {
  const auto parsed = parse_cluster_env(
      "# a comment\n\n"
      "A='it'\\''s'\n"
      "B=\"a \\\"b\\\" \\n\"\n"
      "C=plain # why\n"
      "export D=\n"
      "E='$HOME `id`'\r\n",
      "e");
  ASSERT_TRUE(parsed) << parsed.error().to_string();
  EXPECT_THAT(*parsed, ElementsAre(Pair("A", "it's"), Pair("B", "a \"b\" \\n"), Pair("C", "plain"), Pair("D", ""),
                                   Pair("E", "$HOME `id`")));
}

TEST(ClusterEnv, NeverExpandsAnything) {
  EXPECT_THAT(refusal("A='x'\nB=$(reboot)\n"), HasSubstr("/b/cluster.env:2: a shell would expand"));
  EXPECT_THAT(refusal("B=\"`reboot`\"\n"), HasSubstr("a shell would expand"));
  EXPECT_THAT(refusal("B=\"${HOME}\"\n"), HasSubstr("a shell would expand"));
}

TEST(ClusterEnv, RefusesCommandsWithTheirLine) {
  EXPECT_THAT(refusal("A='1'\n\nrm -rf /\n"), HasSubstr("/b/cluster.env:3: 'rm -rf /' is no KEY='value'"));
  EXPECT_THAT(refusal("A='1'; reboot\n"), HasSubstr("this is a command"));
  EXPECT_THAT(refusal("A='1' reboot\n"), HasSubstr("'reboot' follows the value"));
  EXPECT_THAT(refusal("='1'\n"), HasSubstr("no KEY"));
  EXPECT_THAT(refusal("1A='1'\n"), HasSubstr("no KEY"));
}

TEST(ClusterEnv, RefusesAQuoteThatIsntClosed) {
  EXPECT_THAT(refusal("A='1\n"), HasSubstr("/b/cluster.env:1: a quote isn't closed"));
  EXPECT_THAT(refusal("A=\"1\\\"\n"), HasSubstr("a quote isn't closed"));
  EXPECT_THAT(refusal("A='1\n"), HasSubstr("[HWS-ON-005]"));
}

}  // namespace
}  // namespace hawser::bootstrap
