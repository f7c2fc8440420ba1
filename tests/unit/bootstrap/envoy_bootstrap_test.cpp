// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/envoy_bootstrap.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <regex.h>
#include <spawn.h>
#include <sys/wait.h>

#include <nlohmann/json.hpp>

#include "bootstrap/own_listeners.h"
#include "golden.h"
#include "sample.h"

extern char** environ;

namespace hawser::bootstrap {
namespace {

using nlohmann::json;

EnvoyOptions sample(const std::string& generation = "f1e0") {
  EnvoyOptions out;
  out.node = sample_node();
  out.generation = generation;
  return out;
}

EnvoyOptions smallest() {
  EnvoyOptions out;
  out.node.addresses = {"192.0.2.7"};
  out.node.workload_name = "vm";
  out.node.ns = "default";
  out.node.service_account = "default";
  out.node.hostname = "host";
  out.node.discovery_address = "istiod.istio-system.svc:15012";
  out.generation = "f2e1";
  out.ipv6 = false;
  return out;
}

bool matches(const std::string& pattern, const std::string& name) {
  regex_t compiled;
  if (regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) return false;
  const bool found = regexec(&compiled, name.c_str(), 0, nullptr, 0) == 0;
  regfree(&compiled);
  return found;
}

// Would Envoy keep a statistic of this name?
bool kept(const json& bootstrap, const std::string& name) {
  for (const auto& pattern : bootstrap["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]) {
    if (pattern.contains("prefix") && name.rfind(pattern["prefix"].get<std::string>(), 0) == 0) return true;
    if (pattern.contains("suffix")) {
      const auto suffix = pattern["suffix"].get<std::string>();
      if (name.size() >= suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0)
        return true;
    }
    if (pattern.contains("safe_regex") && matches(pattern["safe_regex"]["regex"].get<std::string>(), name)) return true;
  }
  return false;
}

struct Ended {
  int status = -1;
  std::string output;
};

Ended validate(const std::string& envoy, const std::string& text) {
  const TempFolder folder;
  const auto config = folder.file("bootstrap.json", text);
  const auto output = folder.file("output", "");
  std::vector<std::string> words = {envoy, "--mode", "validate", "-c", config, "--base-id", "4711"};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {1, 2}) posix_spawn_file_actions_addopen(&actions, fd, output.c_str(), O_WRONLY | O_APPEND, 0);
  pid_t pid = 0;
  Ended ended;
  if (posix_spawn(&pid, envoy.c_str(), &actions, nullptr, argv.data(), environ) == 0) ::waitpid(pid, &ended.status, 0);
  posix_spawn_file_actions_destroy(&actions);
  ended.output = slurp(output);
  return ended;
}

TEST(EnvoyBootstrap, OfADualStackHostIsAsReviewed) {
  expect_golden("f1e0.json", envoy_bootstrap(sample()));
}

TEST(EnvoyBootstrap, OfTheSmallestHostIsAsReviewed) {
  expect_golden("smallest.json", envoy_bootstrap(smallest()));
}

TEST(EnvoyBootstrap, GenerationsDifferInTheirSocketAndTheirMarkAlone) {
  std::string first = envoy_bootstrap(sample("f1e0"));
  const std::string second = envoy_bootstrap(sample("f2e0"));
  for (std::size_t at = first.find("f1e0"); at != std::string::npos; at = first.find("f1e0"))
    first.replace(at, 4, "f2e0");
  EXPECT_EQ(first, second);
}

TEST(EnvoyBootstrap, WaitsForItsConfigurationWithoutATimeLimit) {
  const auto text = json::parse(envoy_bootstrap(sample()));
  EXPECT_EQ(text["dynamic_resources"]["lds_config"]["initial_fetch_timeout"], "0s");
  EXPECT_EQ(text["dynamic_resources"]["cds_config"]["initial_fetch_timeout"], "0s");
}

TEST(EnvoyBootstrap, ListensInIpv6OnlyWhereTheKernelHasIt) {
  const auto without = json::parse(envoy_bootstrap(smallest()));
  for (const auto& listener : without["static_resources"]["listeners"])
    EXPECT_FALSE(listener.contains("additional_addresses"));
  const auto with = json::parse(envoy_bootstrap(sample()));
  for (const auto& listener : with["static_resources"]["listeners"]) {
    if (listener["name"] == kWorkerListener) continue;
    EXPECT_EQ(listener["additional_addresses"][0]["address"]["socket_address"]["address"], "::");
  }
}

TEST(EnvoyBootstrap, EachGenerationsWorkersCanBeAskedOnASocketOfTheirOwn) {
  const auto text = json::parse(envoy_bootstrap(sample("f1e7")));
  const auto& listener = text["static_resources"]["listeners"][2];
  EXPECT_EQ(listener["name"], kWorkerListener);
  EXPECT_EQ(listener["stat_prefix"], kWorkerListener);
  EXPECT_EQ(listener["address"]["pipe"]["path"], "/run/hawser/proxy/f1e7.worker.sock");
  EXPECT_EQ(listener["address"]["pipe"]["mode"], 0660);
}

TEST(EnvoyBootstrap, KeepsTheStatisticsThatTheSupervisorReads) {
  const auto text = json::parse(envoy_bootstrap(sample()));
  for (const char* name :
       {"cluster_manager.cds.update_success", "listener_manager.lds.update_rejected",
        "listener_manager.workers_started", "control_plane.connected_state",
        "listener.0.0.0.0_15006.downstream_cx_active", "listener.[__]_15001.downstream_cx_active", "server.state"})
    EXPECT_TRUE(kept(text, name)) << name;
}

TEST(EnvoyBootstrap, KeepsOfEachClusterWhatAGraphIsMadeOf) {
  const auto text = json::parse(envoy_bootstrap(sample()));
  const std::string cluster = "cluster.outbound|80||reviews.bookinfo.svc.cluster.local.";
  EXPECT_TRUE(kept(text, cluster + "upstream_rq_5xx"));
  EXPECT_TRUE(kept(text, cluster + "upstream_cx_connect_fail"));
  EXPECT_FALSE(kept(text, cluster + "lb_subsets_fallback_panic"));
  EXPECT_FALSE(kept(text, cluster + "upstream_rq_503"));
}

TEST(EnvoyBootstrap, TextThatIsNoUtf8IsRepaired) {
  auto options = sample();
  options.node.labels["app"] = "caf\xe9";
  EXPECT_FALSE(json::parse(envoy_bootstrap(options), nullptr, false).is_discarded());
}

TEST(EnvoyBootstrap, IsAcceptedByEnvoy) {
  const char* envoy = std::getenv("HAWSER_ENVOY");
  if (envoy == nullptr || *envoy == '\0') GTEST_SKIP() << "HAWSER_ENVOY isn't set";
  for (const auto& options : {sample(), smallest()}) {
    const auto ended = validate(envoy, envoy_bootstrap(options));
    EXPECT_EQ(ended.status, 0) << ended.output;
    // a deprecated field is an error of tomorrow
    EXPECT_EQ(ended.output.find("eprecated"), std::string::npos) << ended.output;
    EXPECT_EQ(ended.output.find("[warning]"), std::string::npos) << ended.output;
  }
}

}  // namespace
}  // namespace hawser::bootstrap
