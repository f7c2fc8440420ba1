// SPDX-License-Identifier: Apache-2.0
#include "supervisor_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(SupervisorTest, ValidatesThenStartsWithTheSameBootstrapAndWaitsForTheGates) {
  start();
  EXPECT_THAT(host.calls, ElementsAre("observe", "validate f1e0 {f1e0}", "start f1e0 {f1e0} 2"));
  EXPECT_EQ(state(), "WARMING");
  EXPECT_THAT(told, IsEmpty());
  driver.seen = fake::early_probe(ProxyState::kPreInitializing);
  loop.advance(milliseconds(50));
  EXPECT_EQ(item().state, HealthState::kStarting);
  EXPECT_THAT(item().detail, HasSubstr("CDS"));
  driver.seen = fake::live_probe();
  loop.advance(milliseconds(50));
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
  EXPECT_EQ(item().state, HealthState::kOk);
  EXPECT_TRUE(has_metric("hawser_proxy_live 1"));
  EXPECT_TRUE(has_metric("hawser_proxy_starts_total 1"));
}

TEST_F(SupervisorTest, IsNotLiveBeforeEveryRequiredListenerIsBound) {
  auto probe = fake::live_probe({15001, 15006});
  probe.ready = false;
  driver.seen = probe;
  start();
  EXPECT_THAT(told, IsEmpty());
  driver.seen = fake::live_probe({15001});
  loop.advance(milliseconds(50));
  EXPECT_THAT(told, IsEmpty());
  EXPECT_THAT(item().detail, HasSubstr("nothing listens on 15006"));
  probe = fake::live_probe();
  probe.listeners[1].bound = false;
  driver.seen = probe;
  loop.advance(milliseconds(50));
  EXPECT_THAT(told, IsEmpty());
  driver.seen = fake::live_probe();
  loop.advance(milliseconds(50));
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
}

TEST_F(SupervisorTest, AdoptsALiveGenerationAndTouchesNothing) {
  host.generations = {{"f1e0", 77, true, 0, "abc", {}}};
  driver.seen = fake::live_probe();
  start();
  loop.advance(seconds(10));
  EXPECT_THAT(host.calls, ElementsAre("observe"));
  EXPECT_THAT(told, ElementsAre("live f1e0 77"));
  const auto status = supervisor->status();
  EXPECT_TRUE(status.adopted);
  EXPECT_EQ(status.pid, 77);
  EXPECT_EQ(status.binary_sha256, "abc");
  EXPECT_EQ(status.concurrency, 2U);
  EXPECT_EQ(status.version, "1.40.0");
}

TEST_F(SupervisorTest, AProxyWhoseInboundIsClosedOnPurposeStaysLive) {
  start_live();
  supervisor->expect_drained(101);
  driver.seen = fake::live_probe();
  driver.seen->listeners[1].bound = false;
  loop.advance(seconds(60));
  EXPECT_THAT(told, IsEmpty());
  EXPECT_THAT(host.calls, IsEmpty());
  EXPECT_EQ(item().state, HealthState::kOk);
  // Outbound is nobody's purpose.
  driver.seen->listeners[0].bound = false;
  loop.advance(seconds(4));
  EXPECT_THAT(told, ElementsAre(HasSubstr("nothing listens on 15001")));
}

TEST_F(SupervisorTest, AProxyThatIsNoLongerExcusedIsReplaced) {
  start_live();
  supervisor->expect_drained(101);
  driver.seen = fake::live_probe();
  driver.seen->listeners[1].bound = false;
  loop.advance(seconds(10));
  supervisor->expect_drained(0);
  loop.advance(seconds(10));
  EXPECT_THAT(host.calls, Contains("signal f1e0 15"));
  EXPECT_THAT(host.calls, Contains("start f1e0 {f1e0} 2"));
}

TEST_F(SupervisorTest, AnAdoptedProxyWhoseInboundIsClosedOnPurposeIsLive) {
  host.generations = {{"f1e0", 77, true, 0, "abc", {}}};
  driver.seen = fake::live_probe();
  driver.seen->listeners[1].bound = false;
  supervisor->expect_drained(77);
  start();
  loop.advance(seconds(10));
  EXPECT_THAT(told, ElementsAre("live f1e0 77"));
  EXPECT_THAT(host.calls, ElementsAre("observe"));
}

TEST_F(SupervisorTest, AGenerationFoundThatNeverWasLiveIsStartedAnew) {
  host.generations = {{"f1e0", 77, true, 0, "abc", {}}};
  driver.seen = fake::early_probe(ProxyState::kInitializing);
  start();
  EXPECT_THAT(host.calls, ElementsAre("observe", "signal f1e0 15", "reap f1e0", "observe", "validate f1e0 {f1e0}",
                                      "start f1e0 {f1e0} 2"));
  // Our own is waited for.
  loop.advance(seconds(60));
  EXPECT_EQ(host.calls.size(), 6U);
}

TEST_F(SupervisorTest, AFoundGenerationWhoseAdminIsMuteAndWhichWasDrainedServesAndIsNotKilled) {
  host.generations = {{"f1e0", 77, true, 0, "abc", {}}};
  driver.kernel = fake::live_probe().listeners;
  std::erase_if(driver.kernel, [](const Listener& each) { return each.port == 15006; });
  supervisor->expect_drained(77);
  start();
  loop.advance(seconds(61));
  EXPECT_THAT(told, ElementsAre("live f1e0 77"));
  EXPECT_THAT(host.calls, Each("observe"));
}

TEST_F(SupervisorTest, AFoundGenerationWhoseAdminIsMuteButWhoseSocketsAreOpenServesAndIsNotKilled) {
  host.generations = {{"f1e0", 77, true, 0, "abc", {}}};
  driver.kernel = fake::live_probe().listeners;
  start();
  loop.advance(seconds(1));
  EXPECT_THAT(told, IsEmpty());
  loop.advance(seconds(60));
  EXPECT_THAT(told, ElementsAre("live f1e0 77"));
  EXPECT_EQ(item_id(), "HWS-PX-025");
  driver.seen = fake::live_probe();
  loop.advance(seconds(1));
  EXPECT_EQ(item().state, HealthState::kOk);
  EXPECT_THAT(host.calls, Each("observe"));
}

// Wedged at its start, or left over by a successor that is dead: nothing is lost with it.
TEST_F(SupervisorTest, AFoundGenerationThatNeitherAnswersNorListensIsReplacedAfterTheStartTimeout) {
  host.generations = {{"f1e0", 77, true, 0, "abc", {}}};
  start();
  loop.advance(seconds(29));
  EXPECT_THAT(host.calls, ElementsAre("observe"));
  EXPECT_EQ(item().state, HealthState::kStarting);
  loop.advance(seconds(2));
  EXPECT_THAT(host.calls, Contains("signal f1e0 9"));
  driver.seen = fake::live_probe();
  loop.advance(seconds(1));
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
}

TEST_F(SupervisorTest, ReapsWhatEndedWhileNobodyLookedAndStartsAnew) {
  host.generations = {{"f1e0", 77, false, 11, "abc", {}}};
  driver.seen = fake::live_probe();
  start();
  loop.advance(milliseconds(100));
  EXPECT_THAT(host.calls,
              ElementsAre("observe", "reap f1e0", "observe", "validate f1e0 {f1e0}", "start f1e0 {f1e0} 2"));
  EXPECT_TRUE(has_metric("hawser_proxy_exits_total{status=\"SIGSEGV\"} 1"));
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
}

TEST_F(SupervisorTest, ARefusedBootstrapIsToldInTheProxysWordsAndTriedAgain) {
  host.validation = Validation{false, "Unable to parse JSON", ""};
  start();
  EXPECT_EQ(item().state, HealthState::kFailed);
  EXPECT_EQ(item_id(), "HWS-PX-003");
  EXPECT_THAT(item().detail, HasSubstr("Unable to parse JSON"));
  host.validation = Validation{true, "", "1.40.0"};
  driver.seen = fake::live_probe();
  loop.advance(milliseconds(100));
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
}

TEST_F(SupervisorTest, ABootstrapThatCannotBeMadeIsReported) {
  bootstrap_ok = false;
  start();
  EXPECT_EQ(item_id(), "HWS-PX-010");
  EXPECT_THAT(host.calls, ElementsAre("observe"));
}

TEST_F(SupervisorTest, TheHostsOwnErrorsKeepTheirIds) {
  host.start_error.push_back(
      Error(Code::kFailedPrecondition, "HWS-BR-030", "no Envoy is installed", "hawser proxy install"));
  start();
  EXPECT_EQ(item().state, HealthState::kFailed);
  EXPECT_EQ(item_id(), "HWS-BR-030");
}

TEST_F(SupervisorTest, AnAbsentBrokerDegradesAndIsAskedAgainWithGrowingPauses) {
  host.broken = true;
  start();
  EXPECT_EQ(item().state, HealthState::kDegraded);
  loop.advance(seconds(60));
  EXPECT_LT(host.calls.size(), 60U);
  EXPECT_EQ(item().state, HealthState::kDegraded);
  host.broken = false;
  driver.seen = fake::live_probe();
  loop.advance(seconds(11));
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
}

TEST_F(SupervisorTest, LateMeansDegradedWithTheCauseAndNoKill) {
  driver.seen = fake::early_probe(ProxyState::kPreInitializing);
  driver.diagnosis = "it has no stream to the xDS relay";
  start();
  loop.advance(seconds(29));
  EXPECT_EQ(item().state, HealthState::kStarting);
  loop.advance(seconds(2));
  EXPECT_EQ(item().state, HealthState::kDegraded);
  EXPECT_EQ(item_id(), "HWS-PX-004");
  EXPECT_THAT(item().detail, HasSubstr("no stream to the xDS relay"));
  loop.advance(seconds(300));
  EXPECT_LE(driver.diagnoses, 61);
  EXPECT_THAT(host.calls, testing::Not(testing::Contains(HasSubstr("signal"))));
  driver.seen = fake::live_probe();
  loop.advance(milliseconds(500));
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
}

TEST_F(SupervisorTest, LiveWithoutAListenerIsDiagnosedSoon) {
  driver.seen = fake::live_probe({15006});
  driver.diagnosis = "listener virtualOutbound: cannot bind '0.0.0.0:15001': Address already in use";
  start();
  loop.advance(seconds(3));
  EXPECT_EQ(item().state, HealthState::kDegraded);
  EXPECT_EQ(item_id(), "HWS-PX-005");
  EXPECT_THAT(item().detail, HasSubstr("Address already in use"));
}

TEST_F(SupervisorTest, AnEndIsToldAtOnceAndHealedWithinTheFirstBackOff) {
  start_live();
  loop.advance(seconds(60));
  die(11);
  ASSERT_THAT(told, ElementsAre("down: f1e0 ended"));
  EXPECT_TRUE(has_metric("hawser_proxy_live 0"));
  EXPECT_TRUE(has_metric("hawser_proxy_exits_total{status=\"SIGSEGV\"} 1"));
  EXPECT_EQ(item_id(), "HWS-PX-006");
  loop.advance(milliseconds(100));
  EXPECT_THAT(told, ElementsAre("down: f1e0 ended", "live f1e0 102"));
  EXPECT_NE(metrics.text().find("hawser_proxy_restart_seconds 0.0"), std::string::npos);
}

TEST_F(SupervisorTest, ASeriesOfEndsIsSlowedDownAndCalledFailed) {
  host.marked = Error(Code::kFailedPrecondition, "HWS-BR-028", "no other one was good");
  start_live();
  bool failed = false;
  for (int i = 0; i < 40; ++i) {
    die(1 << 8);
    failed = failed || item().state == HealthState::kFailed;
    loop.advance(milliseconds(500));
  }
  EXPECT_TRUE(failed);
  EXPECT_LT(host.last_pid, 101 + 25);
  loop.advance(seconds(11));
  EXPECT_EQ(state(), "LIVE");
}

TEST_F(SupervisorTest, AnEndWithoutAWatcherIsNoticedByPolling) {
  start_live();
  watcher.watched.clear();
  host.finish(0);
  driver.seen = fake::down("connection refused");
  loop.advance(seconds(2));
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.front(), "down: f1e0 is gone");
}

TEST_F(SupervisorTest, AMuteAdminInterfaceOfARunningProxyDegradesOnly) {
  start_live();
  driver.seen = fake::down("no answer in time");
  loop.advance(seconds(10));
  EXPECT_THAT(told, IsEmpty());
  EXPECT_EQ(item().state, HealthState::kDegraded);
  driver.seen = fake::live_probe();
  loop.advance(seconds(1));
  EXPECT_EQ(item().state, HealthState::kOk);
}

TEST_F(SupervisorTest, ARestartedBrokerIsNotTheProxysTrouble) {
  start_live();
  host.broken = true;
  loop.advance(seconds(10));
  EXPECT_THAT(told, IsEmpty());
  EXPECT_EQ(item().state, HealthState::kOk);
}

TEST_F(SupervisorTest, AListenerThatVanishesClosesTheGates) {
  start_live();
  driver.seen = fake::live_probe({15006});
  loop.advance(milliseconds(2500));
  EXPECT_THAT(told, IsEmpty());
  loop.advance(seconds(1));
  ASSERT_THAT(told, ElementsAre(HasSubstr("nothing listens on 15001")));
  driver.seen = fake::live_probe();
  loop.advance(milliseconds(50));
  EXPECT_EQ(told.back(), "live f1e0 101");
  EXPECT_THAT(host.calls, IsEmpty());
}

TEST_F(SupervisorTest, ADrainedProxyIsReplacedAsItTakesNothingNew) {
  start_live();
  auto drained = fake::live_probe();
  for (auto& listener : drained.listeners) listener.bound = false;
  driver.seen = drained;
  loop.advance(seconds(5));
  EXPECT_THAT(host.calls, testing::Contains("signal f1e0 15"));
  driver.seen = fake::live_probe();
  loop.advance(seconds(3));
  EXPECT_EQ(told.back(), "live f1e0 " + std::to_string(host.last_pid));
  EXPECT_GT(host.last_pid, 101);
}

TEST_F(SupervisorTest, DestroyingItLeavesTheProxyAloneForTheNext) {
  start_live();
  supervisor.reset();
  loop.advance(seconds(10));
  EXPECT_THAT(host.calls, IsEmpty());
  make();
  start();
  EXPECT_THAT(host.calls, ElementsAre("observe"));
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
}

TEST_F(SupervisorTest, ScrapesTheGenerationThatRuns) {
  std::string answer;
  supervisor->scrape([&](const Result<std::string>& text) { answer = text ? *text : text.error().id(); });
  EXPECT_EQ(answer, "HWS-PX-001");
  start_live();
  supervisor->scrape([&](const Result<std::string>& text) { answer = *text; });
  EXPECT_EQ(answer, "scrape of f1e0");
}

}  // namespace
}  // namespace hawser::proxy
