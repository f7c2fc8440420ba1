// SPDX-License-Identifier: Apache-2.0
#include "certs/kubeconfig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hawser::certs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPath[] = "/etc/hawser/kube/config";

std::string config(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: main\n"
         "contexts:\n- name: main\n  context: {cluster: c, user: u, namespace: x}\n"
         "- name: lost\n  context: {cluster: gone, user: u}\n"
         "clusters:\n- name: c\n  cluster: {" +
         cluster + "}\nusers:\n- name: u\n  user: {" + user + "}\n";
}

constexpr char kCluster[] = "server: 'https://10.0.0.1:6443', certificate-authority: ca.pem";

Result<KubeAccess> parsed(const std::string& cluster, const std::string& user, const std::string& context = "") {
  return parse_kubeconfig(config(cluster, user), kPath, context);
}

TEST(Kubeconfig, FilesAreRelativeToItsFolder) {
  const auto access = parsed(kCluster, "client-certificate: pki/me.pem, client-key: /abs/me.key, tokenFile: tok");
  ASSERT_TRUE(access);
  EXPECT_EQ(access->host, "10.0.0.1");
  EXPECT_EQ(access->port, 6443);
  EXPECT_EQ(access->server_name, "10.0.0.1");
  EXPECT_EQ(access->roots.file, "/etc/hawser/kube/ca.pem");
  EXPECT_EQ(access->chain.file, "/etc/hawser/kube/pki/me.pem");
  EXPECT_EQ(access->key.file, "/abs/me.key");
  EXPECT_EQ(access->token.file, "/etc/hawser/kube/tok");
}

TEST(Kubeconfig, DataWinsOverFiles) {
  const auto access = parsed(
      "server: 'https://k8s.example/prefix/', tls-server-name: other.example, certificate-authority: x, "
      "certificate-authority-data: Um9vdA==",
      "token: s3cret, client-certificate-data: Q2VydA==, client-key-data: S2V5");
  ASSERT_TRUE(access);
  EXPECT_EQ(access->host, "k8s.example");
  EXPECT_EQ(access->port, 443);
  EXPECT_EQ(access->path, "/prefix");
  EXPECT_EQ(access->server_name, "other.example");
  EXPECT_EQ(access->roots.text.reveal(), "Root");
  EXPECT_TRUE(access->roots.file.empty());
  EXPECT_EQ(access->chain.text.reveal(), "Cert");
  EXPECT_EQ(access->key.text.reveal(), "Key");
  EXPECT_EQ(access->token.text.reveal(), "s3cret");
}

TEST(Kubeconfig, APluginIsReadWhole) {
  const auto access =
      parsed("server: 'https://[fd00::1]:6443', certificate-authority: ca.pem",
             "exec: {apiVersion: client.authentication.k8s.io/v1, command: bin/login, args: [get, token], "
             "env: [{name: REGION, value: eu}], provideClusterInfo: true, interactiveMode: Never}");
  ASSERT_TRUE(access);
  EXPECT_EQ(access->host, "fd00::1");
  ASSERT_TRUE(access->plugin);
  EXPECT_EQ(access->plugin->command, "/etc/hawser/kube/bin/login");
  EXPECT_THAT(access->plugin->arguments, ElementsAre("get", "token"));
  EXPECT_EQ(access->plugin->env.at("REGION"), "eu");
  EXPECT_TRUE(access->plugin->cluster_info);
}

TEST(Kubeconfig, WhatWeakensOrIsntKnownIsRefusedByNameAndPlace) {
  const std::string token = "token: s3cret";
  const std::string cluster = kCluster;
  struct Case {
    std::string cluster;
    std::string user;
    const char* word;
  };
  for (const auto& [where, user, word] : {
           Case{cluster + ", insecure-skip-tls-verify: true", token, "insecure-skip-tls-verify"},
           Case{cluster + ", proxy-url: 'http://p:1'", token, "proxy-url"},
           Case{"server: 'http://10.0.0.1:8080'", token, "plain http"},
           Case{"server: 'https://10.0.0.1'", token, "certificate-authority"},
           Case{cluster, "username: me, password: s3cret", "username"},
           Case{cluster, "token: s3cret, as: admin", "as"},
           Case{cluster, "auth-provider: {name: gcp}", "auth-provider"},
           Case{cluster, "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}", "apiVersion"},
           Case{cluster, "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}",
                "terminal"},
       }) {
    const auto access = parsed(where, user);
    ASSERT_FALSE(access) << word;
    EXPECT_EQ(access.error().id(), "HWS-ID-041") << word;
    EXPECT_THAT(access.error().message(), HasSubstr(word));
    EXPECT_THAT(access.error().where(), HasSubstr(std::string(kPath) + ":"));
    EXPECT_THAT(access.error().to_string(), Not(HasSubstr("s3cret")));
  }
}

TEST(Kubeconfig, WhatIsMissingIsNamed) {
  EXPECT_EQ(parsed(kCluster, "token: t", "none").error().id(), "HWS-ID-042");
  EXPECT_THAT(parsed(kCluster, "token: t", "lost").error().message(), HasSubstr("cluster 'gone'"));
  EXPECT_THAT(parse_kubeconfig("contexts: []", kPath, "").error().message(), HasSubstr("current-context"));
  EXPECT_THAT(parsed(kCluster, "").error().message(), HasSubstr("no credentials"));
  EXPECT_THAT(parsed(kCluster, "client-certificate: a").error().message(), HasSubstr("go together"));
}

TEST(Kubeconfig, WhatIsNoneIsAnError) {
  for (const char* text : {"", "7", "[]", "{", "a: b: c", "current-context: x\ncontexts: 7", "current-context: [1]",
                           "current-context: x\ncontexts: {a: b}\nclusters: ~", "&a [*a]"})
    EXPECT_FALSE(parse_kubeconfig(text, kPath, "")) << text;
  EXPECT_THAT(parse_kubeconfig("a: 'x\nb", kPath, "").error().where(), HasSubstr(kPath));
  for (const char* server :
       {"10.0.0.1", "https://", "https://a:0", "https://a:b", "https://a@b", "https://a?b", "https://[::1"})
    EXPECT_FALSE(parsed("certificate-authority: ca, server: '" + std::string(server) + "'", "token: t")) << server;
}

TEST(Base64, IsDecodedStrictly) {
  EXPECT_EQ(decode_base64("Um9v\ndA==\n"), "Root");
  EXPECT_EQ(decode_base64(""), "");
  for (const char* bad : {"Um9", "Um9vd===", "Um=vdA==", "Um9v-A==", "===="}) EXPECT_FALSE(decode_base64(bad)) << bad;
}

}  // namespace
}  // namespace hawser::certs
