// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.h"

namespace hawser::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kJoined[] =
    "control_plane: {address: 'a:1', root: '-----BEGIN CERTIFICATE-----'}\nworkload: {name: w}\nidentity: {token: ";

TokenSettings token(const std::string& text) {
  const Loaded loaded = parse(kJoined + text + "}\n", "h.yaml");
  EXPECT_TRUE(loaded.errors.empty()) << loaded.errors.front().to_string();
  return loaded.config.identity.token;
}

std::string error(const std::string& text) {
  const Loaded loaded = parse(kJoined + text + "}\n", "h.yaml");
  return loaded.errors.size() == 1 ? loaded.errors[0].to_string() : std::to_string(loaded.errors.size()) + " errors";
}

TEST(TokenSettings, AreAFileUnlessSaidOtherwise) {
  const TokenSettings settings = token("{}");
  EXPECT_EQ(settings.source, TokenSettings::Source::kFile);
  EXPECT_EQ(settings.path, "");
  EXPECT_EQ(settings.audience, "istio-ca");
  EXPECT_EQ(settings.credential, "hawser-token");
  EXPECT_EQ(settings.timeout, std::chrono::seconds(10));
}

TEST(TokenSettings, EachSourceHasItsKeys) {
  EXPECT_EQ(token("{path: /run/secrets/token}").path, "/run/secrets/token");
  const TokenSettings exec = token("{source: exec, command: [/bin/tok, '-a'], timeout: 2s, audience: other}");
  EXPECT_EQ(exec.source, TokenSettings::Source::kExec);
  EXPECT_THAT(exec.command, ElementsAre("/bin/tok", "-a"));
  EXPECT_EQ(exec.timeout, std::chrono::seconds(2));
  EXPECT_EQ(exec.audience, "other");
  EXPECT_EQ(token("{source: credential, credential: x}").credential, "x");
  EXPECT_EQ(token("{source: gce}").source, TokenSettings::Source::kGce);
  const TokenSettings kubernetes = token("{source: kubernetes, kubeconfig: /etc/k, context: c}");
  EXPECT_EQ(kubernetes.kubeconfig, "/etc/k");
  EXPECT_EQ(kubernetes.kube_context, "c");
}

TEST(TokenSettings, WhatIsWrongIsNamed) {
  EXPECT_THAT(error("{source: aws}"), HasSubstr("'aws' is not one of file, exec, credential, gce, kubernetes"));
  EXPECT_THAT(error("{path: token}"), HasSubstr("not an absolute path"));
  EXPECT_THAT(error("{source: exec, command: [tok]}"), HasSubstr("not an absolute path"));
  EXPECT_THAT(error("{credential: ../x}"), HasSubstr("not a credential's name"));
  EXPECT_THAT(error("{timeout: 2m}"), HasSubstr("100ms to 1m"));
  EXPECT_THAT(error("{source: exec}"), HasSubstr("identity.token.command is missing"));
  EXPECT_THAT(error("{source: kubernetes}"), HasSubstr("identity.token.kubeconfig is missing"));
}

}  // namespace
}  // namespace hawser::config
