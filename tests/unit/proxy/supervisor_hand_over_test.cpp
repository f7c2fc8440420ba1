// SPDX-License-Identifier: Apache-2.0
// What a hand-over asks of whoever gives the proxy its configuration, and how often there may be one.
#include "supervisor_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

ProbeResult live(unsigned epoch) {
  ProbeResult out = fake::live_probe();
  out.epoch = epoch;
  return out;
}

struct FedSupervisorTest : ReplacingTest {
  FedSupervisorTest() {
    fed = true;
    make();
    follow();
    driver.seen_of.emplace("f1e1", warm(1));
  }
  static ProbeResult warm(unsigned epoch) {
    ProbeResult out = fake::early_probe(ProxyState::kInitializing);
    out.version = "1.40.0";
    out.epoch = epoch;
    return out;
  }
};

TEST_F(FedSupervisorTest, ListenersAreHeldBackFromBeforeTheStartUntilItHasBeenLookedAt) {
  start_live();
  host.start_error.push_back(fake::down());  // it's launched with its hold
  restart();
  EXPECT_THAT(feed.calls, ElementsAre("hold f1e1 90000", "release f1e1"));
  feed.calls.clear();
  loop.advance(seconds(1));
  restart();
  EXPECT_THAT(feed.calls, ElementsAre("hold f1e1 90000", "release f1e1"));
  driver.seen_of["f1e1"] = live(1);
  loop.advance(milliseconds(100));
  EXPECT_EQ(result_id(), "ok");
}

TEST_F(FedSupervisorTest, NoHoldOutlivesASupervisor) {
  driver.seen_of["f1e1"] = fake::early_probe(ProxyState::kPreInitializing);
  driver.seen_of["f1e1"]->epoch = 1;
  start_live();
  restart();
  EXPECT_THAT(feed.calls, ElementsAre("hold f1e1 90000"));
  supervisor.reset();
  EXPECT_THAT(feed.calls, ElementsAre("hold f1e1 90000", "release f1e1"));
}

TEST_F(FedSupervisorTest, OneThatIsHeldBackIsCalledOff) {
  driver.seen_of["f1e1"] = fake::early_probe(ProxyState::kPreInitializing);
  driver.seen_of["f1e1"]->epoch = 1;
  start_live();
  restart();
  EXPECT_TRUE(supervisor->call_off());
  loop.advance(seconds(2));
  EXPECT_EQ(result_id(), "HWS-PX-027");
  EXPECT_THAT(feed.calls, ElementsAre("hold f1e1 90000", "release f1e1"));
  EXPECT_EQ(state(), "LIVE");
}

TEST_F(FedSupervisorTest, AnIncompleteSnapshotIsARefusalAndCounted) {
  feed.seen = ConfigFeed::Snapshot{"clusters (CDS)", "", false};
  start_live();
  restart();
  loop.advance(seconds(4));
  EXPECT_EQ(result_id(), "HWS-PX-035");
  EXPECT_THAT(feed.calls, IsEmpty());
  EXPECT_TRUE(has_metric("hawser_proxy_restarts_total{result=\"refused\"} 1"));
  EXPECT_TRUE(has_metric("hawser_proxy_gates_total{gate=\"snapshot\",result=\"failed\"} 1"));
}

// ---- how often

struct OftenTest : ReplacingTest {
  // One that was tried, though it comes to nothing.
  void ask() {
    HandOverRequest request;
    request.limited = true;
    host.start_error.assign(1, fake::down());
    restart(request);
    loop.advance(seconds(3));
  }
};

TEST_F(OftenTest, AsManyAnHourAsConfigured) {
  per_hour = 2;
  make();
  start_live();
  ask();
  EXPECT_EQ(result_id(), "HWS-BR-001");
  loop.advance(minutes(30));
  ask();
  EXPECT_EQ(result_id(), "HWS-BR-001");
  ask();
  EXPECT_EQ(result_id(), "HWS-PX-036");
  loop.advance(minutes(31));
  ask();
  EXPECT_EQ(result_id(), "HWS-BR-001") << "those that were refused don't count";
  ask();
  EXPECT_EQ(result_id(), "HWS-PX-036");
}

TEST_F(OftenTest, AHotRestartWaitsAWhileAfterThePredecessorsEnd) {
  rest = seconds(3);
  make();
  follow();
  driver.seen_of.emplace("f1e1", live(1));
  start_live();
  restart();
  loop.advance(milliseconds(100));
  ASSERT_EQ(result_id(), "ok");
  host.finish(0, "f1e0");
  loop.advance(seconds(7));  // it's reaped by then, at the earliest five seconds ago
  driver.seen_of.emplace("f1e2", live(2));
  results.clear();
  restart();
  loop.advance(milliseconds(100));
  EXPECT_EQ(result_id(), "none");
  loop.advance(seconds(3));
  EXPECT_EQ(result_id(), "ok");
}

}  // namespace
}  // namespace hawser::proxy
