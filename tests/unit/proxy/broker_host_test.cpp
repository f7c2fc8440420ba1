// SPDX-License-Identifier: Apache-2.0
#include "proxy/broker_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <optional>

#include "hawser/broker.pb.h"

namespace hawser::proxy {
namespace {

namespace v1 = broker::v1;
using std::chrono::milliseconds;

struct BrokerHostTest : testing::Test {
  v1::Request asked;
  milliseconds allowed{0};
  Result<v1::Response> response = v1::Response();
  BrokerHost host{[this](const v1::Request& request, milliseconds timeout, const broker::BrokerClient::Done& done) {
    asked = request;
    allowed = timeout;
    done(response);
  }};
};

TEST_F(BrokerHostTest, ObserveGivesTheGenerationsAsTheBrokerSeesThem) {
  auto& item = *response->mutable_observe()->add_generations();
  item.set_name("f1e0");
  item.set_pid(42);
  item.set_running(true);
  item.set_binary_sha256("abc");
  item.set_started_at(1'700'000'000);
  response->mutable_observe()->set_proxy_memory_max(5);
  std::vector<HostedGeneration> seen;
  host.observe([&](const auto& result) { seen = *result; });
  EXPECT_TRUE(asked.has_observe());
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].pid, 42);
  EXPECT_TRUE(seen[0].running);
  EXPECT_EQ(seen[0].started_at, Loop::Wall(std::chrono::seconds(1'700'000'000)));
  EXPECT_EQ(host.memory_max(), 5U);
}

TEST_F(BrokerHostTest, ObserveTellsWhatSandboxesPermitBeforeItAnswers) {
  auto& seen = *response->mutable_observe();
  seen.add_proxy_permits("lua");
  for (const char* name : {"f1e0", "f2e0", "f3e0"}) {
    auto& item = *seen.add_generations();
    item.set_name(name);
    item.set_running(std::string(name) != "f3e0");
  }
  seen.mutable_generations(1)->add_permits("wasm");
  seen.mutable_generations(1)->add_permits("something of a later release");
  std::optional<HostPermits> told;
  BrokerHost telling{[this](const auto&, auto, const auto& done) { done(response); },
                     [&told](const HostPermits& permits) { told = permits; }};
  bool before = false;
  telling.observe([&](const auto&) { before = told.has_value(); });
  ASSERT_TRUE(before);
  EXPECT_EQ(told->of("f1e0"), ExtensionPermits()) << "it was started before Lua was allowed";
  EXPECT_EQ(told->of("f2e0"), (ExtensionPermits{false, true}));
  EXPECT_EQ(told->of("f3e0"), (ExtensionPermits{true, false})) << "one of this name that starts now";
}

TEST_F(BrokerHostTest, ValidateSendsTheBytesAndGivesTheProxysWords) {
  response->mutable_validate()->set_detail("bad");
  std::optional<Validation> seen;
  host.validate("f1e0", "{\"a\":\"\x01\"}", {"--concurrency", "2"}, "d1ge57",
                [&](const auto& result) { seen = *result; });
  EXPECT_EQ(asked.validate().generation(), "f1e0");
  EXPECT_THAT(asked.validate().args(), testing::ElementsAre("--concurrency", "2"));
  EXPECT_EQ(asked.validate().bootstrap(), "{\"a\":\"\x01\"}");
  EXPECT_EQ(asked.validate().binary_sha256(), "d1ge57");
  EXPECT_FALSE(seen->valid);
  EXPECT_EQ(seen->detail, "bad");
}

TEST_F(BrokerHostTest, StartPassesTheArgumentsOn) {
  response->mutable_start()->set_pid(7);
  response->mutable_start()->set_binary_sha256("abc");
  std::optional<StartedGeneration> seen;
  host.start("f1e0", "{}", {"--concurrency", "2"}, "d1ge57", [&](const auto& result) { seen = *result; });
  ASSERT_EQ(asked.start().args_size(), 2);
  EXPECT_EQ(asked.start().args(1), "2");
  EXPECT_EQ(asked.start().binary_sha256(), "d1ge57");
  EXPECT_EQ(seen->pid, 7);
}

TEST_F(BrokerHostTest, ReapMayTakeLongerThanItsOwnWait) {
  response->mutable_reap()->set_ended(true);
  response->mutable_reap()->set_exit_status(11);
  std::optional<ReapedGeneration> seen;
  host.reap("f1e0", milliseconds(7000), [&](const auto& result) { seen = *result; });
  EXPECT_EQ(asked.reap().wait_ms(), 7000U);
  EXPECT_GT(allowed, milliseconds(7000));
  EXPECT_TRUE(seen->ended);
  EXPECT_EQ(seen->exit_status, 11);
}

TEST_F(BrokerHostTest, ASignalsAnswerIsEmpty) {
  bool ok = false;
  host.signal("f1e0", SIGTERM, [&](const Status& result) { ok = result.has_value(); });
  EXPECT_EQ(asked.signal().signal(), 15U);
  EXPECT_TRUE(ok);
}

TEST_F(BrokerHostTest, ARepairsAnswerIsEmpty) {
  bool ok = false;
  host.repair("f1e0", [&](const Status& result) { ok = result.has_value(); });
  EXPECT_EQ(asked.repair().generation(), "f1e0");
  EXPECT_TRUE(ok);
}

TEST_F(BrokerHostTest, ObserveTellsTheCurrentAndTheLastGoodBinary) {
  response->mutable_observe()->set_current_sha256("c0");
  response->mutable_observe()->set_last_good_sha256("900d");
  HostedBinaries seen;
  host.binaries([&](const auto& result) { seen = *result; });
  EXPECT_TRUE(asked.has_observe());
  EXPECT_EQ(seen.current_sha256, "c0");
  EXPECT_EQ(seen.last_good_sha256, "900d");
}

TEST_F(BrokerHostTest, AMarkNamesTheBinaryAndWhy) {
  bool ok = false;
  host.mark("bad", BinaryMark::kQuarantine, "it crashed", [&](const Status& result) { ok = result.has_value(); });
  EXPECT_EQ(asked.binary().mark(), broker::v1::BinaryRequest::QUARANTINE);
  EXPECT_EQ(asked.binary().sha256(), "bad");
  EXPECT_EQ(asked.binary().reason(), "it crashed");
  EXPECT_TRUE(ok);
  host.mark("900d", BinaryMark::kGood, "", [&](const Status& result) { ok = result.has_value(); });
  EXPECT_EQ(asked.binary().mark(), broker::v1::BinaryRequest::GOOD);
  response = Error(Code::kFailedPrecondition, "HWS-BR-028", "the last one");
  host.mark("bad", BinaryMark::kQuarantine, "", [&](const Status& result) { ok = result.has_value(); });
  EXPECT_FALSE(ok);
}

TEST_F(BrokerHostTest, TheBrokersErrorsPassAndOtherAnswersAreErrors) {
  std::string id;
  response->mutable_reap();
  host.observe([&](const auto& result) { id = result.error().id(); });
  EXPECT_EQ(id, "HWS-PX-009");
  response = Error(Code::kUnavailable, "HWS-BR-001", "gone");
  host.observe([&](const auto& result) { id = result.error().id(); });
  EXPECT_EQ(id, "HWS-BR-001");
}

}  // namespace
}  // namespace hawser::proxy
