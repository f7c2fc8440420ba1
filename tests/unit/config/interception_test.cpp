// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "config/load.h"

namespace hawser::config {
namespace {

constexpr const char* kAll = R"(interception:
  inbound:
    mode: tproxy
    tproxy: {mark: 0x500/0xfff, table: 140}
    services:
      - {name: web, ports: [8080]}
      - {name: rpc, ports: [9000, "9002-9004"]}
    exclude: [9003]
  outbound:
    ports: [443, "8000-8999"]
    cidrs: [10.0.0.0/8, fd00::/8]
    exclude_ports: [8500]
    exclude_cidrs: [10.9.0.0/16]
  exempt:
    users: [root, "881", 4001-4010]
    groups: [root]
    cgroups: [system.slice/backup.service]
    marks: [0x100/0xf00, 7]
  groups: {exclude: ["600"]}
  user_ports:
    - {users: ["700", "701"], ports: [5432, "6000-6010"], protocol: any}
  exclude_interfaces: [eth1, docker*]
  self_call: true
  hbone_port: 15008
  drop_invalid: true
  dns: {capture: resolvers, port: 15153, resolvers: [10.0.0.53]}
)";

TEST(ConfigInterception, EveryKeyIsRead) {
  const Loaded loaded = parse(kAll, "h.yaml");
  ASSERT_TRUE(loaded.errors.empty()) << loaded.errors[0].to_string();
  const Interception& in = loaded.config.interception;
  EXPECT_EQ(in.mode, netfilter::InboundMode::kTproxy);
  EXPECT_EQ(in.tproxy, (netfilter::Tproxy{0x500, 0xfff, 140}));
  ASSERT_EQ(in.services.size(), 2U);
  EXPECT_EQ(in.services[1], (netfilter::Service{"rpc", {{9000, 9000}, {9002, 9004}}}));
  EXPECT_EQ(in.outbound_ports.size(), 2U);
  EXPECT_EQ(in.outbound_cidrs, (std::vector<std::string>{"10.0.0.0/8", "fd00::/8"}));
  EXPECT_EQ(in.exempt,
            (netfilter::Owner{{0, 881, {4001, 4010}}, {0}, {"system.slice/backup.service"}, {{0x100, 0xf00}, {7}}}));
  EXPECT_EQ(in.groups_exclude, std::vector<std::uint32_t>{600});
  ASSERT_EQ(in.user_ports.size(), 1U);
  EXPECT_EQ(in.user_ports[0],
            (netfilter::UserPorts{{700, 701}, {{5432, 5432}, {6000, 6010}}, netfilter::Protocol::kAny}));
  EXPECT_EQ(in.exclude_interfaces, (std::vector<std::string>{"eth1", "docker*"}));
  EXPECT_TRUE(in.self_call);
  EXPECT_EQ(in.hbone_port, 15008U);
  EXPECT_TRUE(in.drop_invalid);
  EXPECT_EQ(in.dns, netfilter::Dns::Capture::kResolvers);
  EXPECT_EQ(in.dns_port, 15153);
  EXPECT_EQ(in.dns_resolvers, std::vector<std::string>{"10.0.0.53"});
}

// One line each: where, what, the fix and the id.
TEST(ConfigInterception, WhatCannotBeIsRefusedAtItsPlace) {
  struct Case {
    const char* text;
    const char* place;
    const char* words;
    const char* id;
  };
  const Case cases[] = {
      {"outbound: {cidrs: [10.0.0.0/33]}", ":1:35:", "bad prefix length", "HWS-CF-004"},
      {"outbound: {exclude_cidrs: [ten]}", ":1:43:", "is not an address or CIDR", "HWS-CF-004"},
      {"inbound: {ports: [0]}", ":1:34:", "is not a port", "HWS-CF-004"},
      {"outbound: {exclude_ports: [70000]}", ":1:43:", "is not a port", "HWS-CF-004"},
      {"outbound: {ports: [90-80]}", ":1:35:", "is inverted", "HWS-CF-004"},
      {"exempt: {users: [nobody-of-that-name]}", ":1:33:", "doesn't exist", "HWS-CF-006"},
      {"exempt: {users: [9-8]}", ":1:33:", "'9-8' is inverted", "HWS-CF-004"},
      {"exempt: {users: [1-4294967295]}", ":1:33:", "is no range of users", "HWS-CF-004"},
      {"exempt: {users: [1-2-3]}", ":1:33:", "is no range of users", "HWS-CF-004"},
      {"exempt: {users: [1-]}", ":1:33:", "doesn't exist", "HWS-CF-006"},
      {"exempt: {users: [1-2, 1-2]}", ":1:38:", "is there already", "HWS-CF-004"},
      {"exempt: {groups: [no-such-group]}", ":1:34:", "doesn't exist", "HWS-CF-006"},
      {"exempt: {marks: [0]}", ":1:33:", "mark 0", "HWS-NF-032"},
      {"exempt: {marks: [0x101/0xf00]}", ":1:33:", "has bits", "HWS-NF-032"},
      {"exempt: {marks: [much]}", ":1:33:", "is not a mark", "HWS-CF-004"},
      {"exempt: {cgroups: [/system.slice]}", ":1:35:", "is no path of a cgroup", "HWS-NF-031"},
      {"exclude_interfaces: [averyveryverylongname0]", ":1:37:", "too long", "HWS-NF-030"},
      {"exclude_interfaces: ['*']", ":1:37:", "is no interface name", "HWS-NF-030"},
      {"outbound: {cidrs: [10.0.0.0/8, 10.1.0.0/8]}", ":1:47:", "is there already", "HWS-CF-004"},
      {"inbound: {ports: [80, 80]}", ":1:38:", "is there already", "HWS-CF-004"},
      {"outbound: {cidrs: [10.0.0.0/8], exclude_cidrs: [10.0.0.0/8]}", ":1:64:", "included and excluded", "HWS-CF-004"},
      {"inbound: {ports: [80], exclude: [80]}", ":1:49:", "included and excluded", "HWS-CF-004"},
      {"groups: {include: ['5'], exclude: ['5']}", ":1:51:", "included and excluded", "HWS-CF-004"},
      {"inbound: {ports: all, services: [{name: a, ports: [1]}]}", ":1:48:", "says all", "HWS-CF-004"},
      {"inbound: {services: [{name: a}]}", "", "ports: is missing", "HWS-CF-005"},
      {"inbound: {mode: transparent}", ":1:32:", "redirect, tproxy", "HWS-CF-004"},
      {"inbound: {tproxy: {mark: 4294967295}}", ":1:41:", "doesn't fit", "HWS-NF-032"},
      {"inbound: {tproxy: {table: 254}}", ":1:42:", "the system's own", "HWS-NF-033"},
      {"user_ports: [{ports: [80]}]", "", "users: is missing", "HWS-CF-005"},
      {"hbone_port: 15006", ":1:28:", "the proxy's own", "HWS-CF-004"},
      {"dns: {capture: some}", ":1:31:", "off, resolvers, all", "HWS-CF-004"},
      {"dns: {resolvers: [dns.corp]}", ":1:34:", "is not an IP address", "HWS-CF-004"},
  };
  for (const Case& c : cases) {
    const Loaded loaded = parse("interception: {" + std::string(c.text) + "}\n", "h.yaml");
    ASSERT_EQ(loaded.errors.size(), 1U) << c.text;
    const std::string line = loaded.errors[0].to_string();
    EXPECT_NE(line.find(std::string("h.yaml") + c.place), std::string::npos) << line;
    EXPECT_NE(line.find(c.words), std::string::npos) << line;
    EXPECT_EQ(loaded.errors[0].id(), c.id) << line;
  }
}

TEST(ConfigInterception, TooMuchIsRefusedAtItsPlace) {
  std::string text = "interception:\n  outbound:\n    cidrs:\n";
  for (int i = 0; i <= 16384; ++i)
    text += "      - 10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24\n";
  const Loaded loaded = parse(text, "h.yaml");
  ASSERT_EQ(loaded.errors.size(), 1U);
  EXPECT_NE(loaded.errors[0].to_string().find("h.yaml:16388:"), std::string::npos) << loaded.errors[0].to_string();
}

TEST(ConfigInterception, WhatBecomesOfTrafficWithoutAProxyIsSaidByDirection) {
  const OnFailure out = parse("interception: {on_failure: {inbound: open, outbound: closed, max_open: 5m}}\n", "h.yaml")
                            .config.interception.on_failure;
  EXPECT_FALSE(out.inbound_closed);
  EXPECT_TRUE(out.outbound_closed);
  EXPECT_EQ(out.max_open, std::chrono::minutes(5));
  const OnFailure defaults = parse("", "h.yaml").config.interception.on_failure;
  EXPECT_TRUE(defaults.inbound_closed);
  EXPECT_FALSE(defaults.outbound_closed);
  EXPECT_EQ(defaults.max_open.count(), 0);
  EXPECT_EQ(parse("interception: {on_failure: {inbound: shut}}\n", "h.yaml").errors.at(0).id(), "HWS-CF-004");
}

TEST(ConfigInterception, DefaultsAreWhatTheyWere) {
  const Interception in = parse("", "h.yaml").config.interception;
  EXPECT_EQ(in.mode, netfilter::InboundMode::kRedirect);
  EXPECT_FALSE(in.self_call);
  EXPECT_FALSE(in.drop_invalid);
  EXPECT_EQ(in.hbone_port, 0U);
  EXPECT_EQ(in.dns, netfilter::Dns::Capture::kOff);
  EXPECT_TRUE(in.exempt.empty());
}

}  // namespace
}  // namespace hawser::config
