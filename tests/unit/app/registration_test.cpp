// SPDX-License-Identifier: Apache-2.0
#include "registration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "../registration/recorded_health.h"

namespace hawser {
namespace {

using testing::HasSubstr;

// Without a control plane: the relay isn't started.
struct RegistrationTest : testing::Test {
  RegistrationTest() {
    config.mesh.network = "vm-net";
    facts.addresses = {"fd77::20", "10.77.0.20"};
    facts.own.addresses = facts.addresses;
    facts.own.rule = "interface eth0";
  }
  Registration& make() {
    Registration::Hooks hooks;
    hooks.identity = [] { return registration::ProbeIdentity{}; };
    hooks.registered = [this] { ++registered; };
    subject = std::make_unique<Registration>(Registration::Context{loop, metrics, health, relay}, config, facts, hooks);
    subject->start();
    return *subject;
  }

  AsioLoop loop;
  Metrics metrics;
  registration::RecordedHealth health;
  xds::Relay relay{loop, metrics, health, {}};
  config::Config config;
  HostFacts facts;
  int registered = 0;
  std::unique_ptr<Registration> subject;
};

TEST_F(RegistrationTest, AnAddressWithoutAListenerIsNamedAndTheHostIsNeverToldAsHealthy) {
  auto& host = make();
  host.intercepted(true, false);
  EXPECT_EQ(health.items["address"].id, "HWS-NF-008");
  EXPECT_THAT(health.items["address"].detail, HasSubstr("fd77::20"));
  EXPECT_EQ(host.describe()["health"], "unknown");
  EXPECT_EQ(registered, 0);
  host.intercepted(true, true);
  EXPECT_EQ(health.items["address"].id, "");
  EXPECT_EQ(host.describe()["health"], "healthy");
}

TEST_F(RegistrationTest, AFurtherAddressThatIsNotCapturedIsSaidAndNoMore) {
  make().intercepted(false, true);
  EXPECT_EQ(health.items["address"].detail, "fd77::20, 10.77.0.20 (not captured), by interface eth0");
  EXPECT_EQ(health.items["address"].state, HealthState::kOk);
}

TEST_F(RegistrationTest, WithoutInboundInterceptionAnyAddressWillDo) {
  config.interception.inbound = false;
  EXPECT_EQ(make().describe()["health"], "unknown");
  subject->intercepted(true, false);
  EXPECT_EQ(subject->describe()["health"], "healthy");
}

TEST_F(RegistrationTest, WithoutAGroupBeingToldIsEnough) {
  make().intercepted(true, true);
  EXPECT_EQ(registered, 1);
}

TEST_F(RegistrationTest, LosingInterceptionTellsWhy) {
  auto& host = make();
  host.intercepted(true, true);
  host.not_intercepted("");
  EXPECT_EQ(host.describe()["reason"], "traffic isn't intercepted");
  EXPECT_EQ(health.items["registration"].id, "HWS-RG-001");
}

TEST_F(RegistrationTest, ARefusalIsShownUntilThePlaneTakesTheHost) {
  config.workload.group = "vm-app";
  auto& host = make();
  const Error answer(Code::kFailedPrecondition, "", "cannot find WorkloadGroup demo/vm-app");
  host.failed(Error(Code::kFailedPrecondition, "HWS-XDS-006", "refused").because(answer));
  EXPECT_EQ(host.describe()["refusal"]["id"], "HWS-RG-003");
  EXPECT_EQ(health.items["registration"].state, HealthState::kDegraded);
  host.failed(Error(Code::kUnavailable, "HWS-XDS-001", "away").because(Error(Code::kUnavailable, "", "refused")));
  EXPECT_EQ(host.describe()["refusal"]["id"], "HWS-RG-003");
  host.connected(true);
  EXPECT_FALSE(host.describe().contains("refusal"));
  EXPECT_EQ(health.items["registration"].state, HealthState::kStarting);
}

TEST_F(RegistrationTest, NobodyIsWaitedForWhoCannotBeTold) {
  auto& host = make();
  host.intercepted(true, true);
  bool gone = false;
  host.withdraw(config.workload.withdraw_wait, [&] { gone = true; });
  EXPECT_TRUE(gone);
  EXPECT_TRUE(host.describe()["withdrawn"]);
}

TEST_F(RegistrationTest, TheEntrysNameIsIstiods) {
  config.workload.group = "vm-app";
  EXPECT_EQ(workload_entry_name(config, facts), "vm-app-fd77--20-vm-net");
  config.mesh.network = std::string(300, 'n');
  EXPECT_EQ(workload_entry_name(config, facts).size(), 253U);
}

TEST_F(RegistrationTest, OnlyProbesThroughTheProxyNeedARule) {
  config::HealthProbe probe;
  probe.kind = config::HealthProbe::Kind::kTcp;
  probe.port = 8080;
  probe.service = "web";
  config.health.services = {probe};
  EXPECT_TRUE(Registration::probes_through_proxy(config, facts).empty());
  config.health.services[0].through_proxy = true;
  const auto rules = Registration::probes_through_proxy(config, facts);
  ASSERT_EQ(rules.size(), 1U);
  EXPECT_EQ(rules[0].text(), "[fd77::20]:8080");
}

}  // namespace
}  // namespace hawser
