// SPDX-License-Identifier: Apache-2.0
#include "config/load.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "only_error.h"

namespace hawser::config {
namespace {

TEST(Config, AnEmptyFileIsValidAndNotJoined) {
  const Loaded loaded = parse("# only a comment\n", "h.yaml");
  EXPECT_TRUE(loaded.errors.empty());
  EXPECT_FALSE(loaded.config.joined());
  EXPECT_EQ(loaded.config.status_port, 15020);
}

TEST(Config, AnUnknownKeyIsNamedWithItsPlaceAndASuggestion) {
  EXPECT_EQ(only_error("log:\n  levle: debug\n"),
            "h.yaml:2:3: unknown key 'log.levle' (fix: did you mean 'level'?) [HWS-CF-003]");
}

TEST(Config, BrokenYamlIsPlacedByLineAndColumn) {
  const std::string error = only_error("log: [a, b\nmesh: {}\n");
  EXPECT_NE(error.find("h.yaml:2:"), std::string::npos) << error;
  EXPECT_NE(error.find("HWS-CF-002"), std::string::npos) << error;
}

TEST(Config, BadValuesSayWhatIsRight) {
  EXPECT_NE(only_error("interception: {inbound: {ports: [70000]}}").find("a port is 1 to 65535"), std::string::npos);
  EXPECT_NE(only_error("interception: {outbound: {exclude_ports: ['90-80']}}").find("inverted"), std::string::npos);
  EXPECT_NE(only_error("interception: {outbound: {exclude_cidrs: [10.0.0.0/33]}}").find("prefix length"),
            std::string::npos);
  EXPECT_NE(only_error("identity: {ttl: 5s}").find("is under 30s"), std::string::npos);
  EXPECT_NE(only_error("identity: {ttl: soon}").find("is not a duration"), std::string::npos);
  EXPECT_NE(only_error("control_plane: {address: istiod}").find("has no port"), std::string::npos);
  EXPECT_NE(only_error("control_plane: {reconnect_spread: 2h}").find("is over 1h"), std::string::npos);
  EXPECT_NE(only_error("compat: {istio_extensions: drop}").find("'drop' is not one of strip, keep"), std::string::npos);
  EXPECT_FALSE(parse("compat: {istio_extensions: keep}", "h.yaml").config.compat.strip_istio_extensions);
  EXPECT_NE(only_error("proxy: {concurrency: -1}").find("not a number from 0 to 1024"), std::string::npos);
  EXPECT_NE(only_error("proxy: {log_level: warn}").find("'warn' is not one of trace"), std::string::npos);
  EXPECT_FALSE(parse("proxy: {log_level: info, log_format: text}", "h.yaml").config.proxy.json_log);
}

TEST(Config, EveryErrorOfAFileIsReported) {
  EXPECT_EQ(parse("log: {level: loud}\nmesh: {idd: x}\n", "h.yaml").errors.size(), 2U);
}

TEST(Config, ServicesTakeTheTimesOfHealthAndThePortOfTheirName) {
  const Loaded loaded = parse(R"(
workload: {ports: [{name: web, port: 8080}]}
health:
  period: 3s
  policy: any
  report_interval: 20s
  services:
    - {name: web, http: {path: /ok, scheme: https, server_name: app.example}}
    - {name: rpc, grpc: {port: 9000, service: shop.Cart}, timeout: 250ms}
    - {name: job, exec: {command: [/bin/true]}}
)",
                              "h.yaml");
  ASSERT_TRUE(loaded.errors.empty()) << loaded.errors[0].to_string();
  const auto probes = loaded.config.health_probes();
  ASSERT_EQ(probes.size(), 3U);
  EXPECT_EQ(probes[0].port, 8080);
  EXPECT_TRUE(probes[0].tls);
  EXPECT_EQ(probes[0].period, std::chrono::seconds(3));
  EXPECT_EQ(probes[1].kind, HealthProbe::Kind::kGrpc);
  EXPECT_EQ(probes[1].grpc_service, "shop.Cart");
  EXPECT_EQ(probes[1].timeout, std::chrono::milliseconds(250));
  EXPECT_TRUE(loaded.config.health.any);
  EXPECT_EQ(loaded.config.health.report_interval, std::chrono::seconds(20));
}

TEST(Config, BadProbesSayWhatIsRight) {
  const std::pair<const char*, const char*> cases[] = {
      {"health: {http: {path: /}}", "health.http.port: is missing"},
      {"health: {tcp: {port: 1}, exec: {command: [a]}}", "one of http, tcp, grpc and exec"},
      {"health: {services: [{name: a, tcp: {}}]}", "'a' has no port"},
      {"health: {services: [{name: a, tcp: {port: 1}}, {name: a, tcp: {port: 2}}]}", "'a' is there already"},
      {"health: {services: [{name: a}]}", "has no probe"},
      {"health: {services: [{tcp: {port: 1}}]}", "name: is missing"},
      {"health: {exec: {command: [x]}, through_proxy: true}", "isn't for exec"},
      {"health: {tcp: {port: 80}, through_proxy: true}\ninterception: {inbound: {exclude: [80]}}", "isn't captured"},
      {"health: {tcp: {port: 80}, through_proxy: true}\ninterception: {outbound: {enabled: false}}", "isn't captured"},
      {"health: {http: {port: 1, ca: x}}", "holds no PEM certificate"},
      {"health: {tcp: {port: 1}, period: 1ms}", "is under 10ms"},
      {"health: {tcp: {port: 1}, jitter: 2}", "is not a share from 0 to 0.5"},
      {"health: {policy: some}", "is not one of all, any"},
      {"health: {exec: {}}", "command: is missing"},
      {"workload: {withdraw_wait: 10m}", "is over 5m"},
      {"workload: {address: 192.0.2.1, address_rule: {interface: eth0}}", "are both there"},
      {"workload: {address_rule: {cidr: [10.0.0.0/40]}}", "bad prefix length"},
      {"workload: {address_rule: {family: ipv4}}", "is not one of any, v4, v6, dual"}};
  for (const auto& [text, words] : cases) {
    const Loaded loaded = parse(text, "h.yaml");
    ASSERT_FALSE(loaded.errors.empty()) << text;
    EXPECT_NE(loaded.errors[0].to_string().find(words), std::string::npos) << loaded.errors[0].to_string();
  }
}

TEST(Config, AJoinedHostNeedsItsRootAndName) {
  const Loaded loaded = parse("control_plane: {address: 'istiod.istio-system.svc:15012'}\n", "h.yaml");
  ASSERT_EQ(loaded.errors.size(), 2U);
  EXPECT_NE(loaded.errors[0].to_string().find("control_plane.root is missing"), std::string::npos);
}

TEST(Config, LaterFilesWinAndListsReplace) {
  const auto folder = std::filesystem::temp_directory_path() / ("hawser-config-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder / "conf.d");
  std::ofstream(folder / "hawser.yaml") << "log: {level: debug}\ninterception: {inbound: {exclude: [1, 2]}}\n";
  std::ofstream(folder / "conf.d/50-a.yaml") << "interception: {inbound: {exclude: [3]}}\n";
  std::ofstream(folder / "conf.d/60-b.yaml") << "log: {format: json}\n";
  const Loaded loaded =
      load({(folder / "vendor").string(), (folder / "hawser.yaml").string(), (folder / "conf.d").string()});
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(loaded.errors.empty());
  EXPECT_EQ(loaded.files.size(), 3U);
  EXPECT_EQ(loaded.config.log.level, log::Level::kDebug);
  EXPECT_EQ(loaded.config.log.format, log::Format::kJson);
  ASSERT_EQ(loaded.config.interception.inbound_exclude.size(), 1U);
  EXPECT_EQ(loaded.config.interception.inbound_exclude[0].first, 3);
}

TEST(Config, AllStandsForEveryPort) {
  const Loaded loaded = parse("interception: {inbound: {ports: all}}", "h.yaml");
  EXPECT_TRUE(loaded.errors.empty());
  EXPECT_TRUE(loaded.config.interception.inbound_ports.empty());
}

TEST(Config, UsersMayBeNumbers) {
  EXPECT_EQ(*resolve_user("881"), 881U);
  EXPECT_EQ(*resolve_user("root"), 0U);
  EXPECT_EQ(resolve_user("no-such-user-here").error().id(), "HWS-CF-006");
}

TEST(ConfigDialling, AddressesAreTextsOrMapsWithAPriority) {
  const Loaded loaded = parse(
      "control_plane:\n"
      "  addresses: ['10.0.0.1:15012', {address: 'istiod.b:15012', priority: 1}]\n"
      "  tls_name: istiod.mesh\n"
      "  fail_over: 2\n"
      "  fail_back: 5m\n"
      "  http_proxy: http://proxy.corp:3128/\n"
      "  http_proxy_credentials: /etc/hawser/proxy\n"
      "  no_proxy: [.corp, 10.0.0.0/8]\n"
      "ca: {addresses: ['10.0.0.3:15012']}\n",
      "h.yaml");
  const auto& plane = loaded.config.control_plane;
  ASSERT_EQ(plane.addresses.size(), 2u);
  EXPECT_EQ(plane.addresses[1].at.text(), "istiod.b:15012");
  EXPECT_EQ(plane.addresses[1].priority, 1u);
  EXPECT_EQ(plane.address.text(), "10.0.0.1:15012") << "the first one stands for address";
  EXPECT_EQ(plane.server_name(), "istiod.mesh");
  EXPECT_EQ(plane.fail_over, 2u);
  EXPECT_EQ(plane.fail_back, std::chrono::minutes(5));
  EXPECT_EQ(plane.http_proxy.address.text(), "proxy.corp:3128");
  EXPECT_EQ(plane.http_proxy.no_proxy.size(), 2u);
  EXPECT_EQ(loaded.config.ca.address.text(), "10.0.0.3:15012");
}

TEST(ConfigDialling, WhatIsWrongIsSaidWithItsPlace) {
  EXPECT_NE(only_error("control_plane: {addresses: ['istiod']}").find("has no port"), std::string::npos);
  EXPECT_NE(only_error("control_plane: {addresses: [{priority: 1}]}").find("addresses.address: is missing"),
            std::string::npos);
  EXPECT_NE(only_error("control_plane: {http_proxy: 'http://u:p@proxy:3128'}").find("http_proxy_credentials"),
            std::string::npos);
  EXPECT_NE(only_error("control_plane: {http_proxy: 'https://proxy:3128'}").find("not http://"), std::string::npos);
  EXPECT_NE(only_error("control_plane: {no_proxy: ['*']}").find("'*'"), std::string::npos);
  EXPECT_NE(only_error("control_plane: {fail_over: 0}").find("from 1 to 100"), std::string::npos);
}

}  // namespace
}  // namespace hawser::config
