// SPDX-License-Identifier: Apache-2.0
#include "snapshot_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "../broker/temporary_folder.h"
#include "../registration/recorded_health.h"
#include "base/fake_loop.h"
#include "base/file.h"
#include "xds/types.h"

namespace hawser {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kClusters(xds::kClusterType);
const std::string kWorkloads(xds::kWorkloadType);

class SnapshotKeeperTest : public ::testing::Test {
 protected:
  SnapshotKeeper::Options options() const {
    SnapshotKeeper::Options out;
    out.folder = folder.path();
    out.node_identity = identity;
    out.plan = plan;
    return out;
  }
  // A hawserd that starts: loads, and dials the plane.
  void boot() {
    keeper = std::make_unique<SnapshotKeeper>(loop, slow, metrics, health, options());
    keeper->load();
    SnapshotKeeper::Source source;
    source.restore = [this](auto types, const auto& done) {
      for (const auto& type : types) restored.push_back(type.header.type_url);
      done(relay_takes_it);
    };
    source.accepted = [this](const auto& known, const auto& done) {
      xds::Relay::Accepted out;
      out.settled = settled;
      for (const auto& [type, content] : accepted) {
        out.revisions[type] = std::hash<std::string>()(content);
        if (const auto before = known.find(type); before != known.end() && before->second == out.revisions[type])
          continue;
        const auto owner = std::make_shared<std::string>(content);
        out.changed.push_back({{type, "v", {}, loop.wall(), true}, {{"one", "", *owner, owner}}});
      }
      done(std::move(out));
    };
    keeper->begin(std::move(source), [this](const std::string& why) { reason = why; });
    loop.run_ready();
  }
  // What a host in a mesh has on disk.
  void live_with_plane() {
    boot();
    keeper->on_plane(true);
    keeper->on_accepted();
    keeper->on_confirmed();
    loop.advance(2s);
    keeper->on_plane(false);
    loop.advance(10s);
    keeper.reset();
    restored.clear();
  }
  std::string stored(const std::string& type) const {
    const auto loaded = xds::snapshot::Store(folder.path(), 0, [this] { return loop.wall(); }).inspect();
    for (const auto& item : loaded.types)
      if (item.header.type_url == type) return item.resources.at(0).body;
    return "nothing";
  }
  Loop::Wall as_of() const {
    return xds::snapshot::Store(folder.path(), 0, [this] { return loop.wall(); }).inspect().manifest->as_of;
  }
  void flip(const std::string& prefix) const {
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      if (entry.path().filename().string().rfind(prefix, 0) != 0) continue;
      std::string bytes = *file::read_bounded(entry.path(), 1 << 20);
      bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
      std::ofstream(entry.path(), std::ios::trunc) << bytes;
    }
  }
  registration::RecordedHealth::Item item() { return health.items["snapshot"]; }

  TemporaryFolder folder;
  FakeLoop loop;
  InlineWorker slow;
  Metrics metrics;
  registration::RecordedHealth health;
  std::string identity = "spiffe://mesh/ns/a/sa/b plane p:1";
  std::string plan = "all";
  std::map<std::string, std::string> accepted = {{kClusters, "C1"}, {kWorkloads, "W1"}};
  bool settled = true;
  bool relay_takes_it = true;
  std::vector<std::string> restored;
  std::string reason;
  std::unique_ptr<SnapshotKeeper> keeper;
};

TEST_F(SnapshotKeeperTest, ServesWhenThePlaneHasntAnsweredAndSaysSinceWhen) {
  live_with_plane();
  boot();
  loop.advance(299ms);
  EXPECT_THAT(restored, IsEmpty()) << "the plane has a head start";
  loop.advance(1ms);
  EXPECT_THAT(restored, ElementsAre(kClusters, kWorkloads));
  EXPECT_THAT(reason, HasSubstr("the last good configuration of 2023-11-14T22:13:"));
  EXPECT_EQ(item().id, "HWS-SN-001");
  EXPECT_THAT(item().detail, HasSubstr("serving last good from 2023-11-14T22:13:"));
  loop.advance(5min);
  EXPECT_THAT(item().detail, HasSubstr("5 min old")) << "the age is kept up to date";
  keeper->on_plane(true);
  EXPECT_EQ(item().state, HealthState::kOk);
}

TEST_F(SnapshotKeeperTest, APlaneThatAnswersInTimeIsPreferred) {
  live_with_plane();
  boot();
  loop.advance(100ms);
  keeper->on_plane(true);
  loop.advance(1s);
  EXPECT_THAT(restored, IsEmpty());
  EXPECT_EQ(item().state, HealthState::kOk);
}

TEST_F(SnapshotKeeperTest, IsNotServedUnlessInterceptionWasConfirmed) {
  boot();
  keeper->on_plane(true);
  keeper->on_accepted();
  loop.advance(2s);
  EXPECT_EQ(stored(kClusters), "C1");
  EXPECT_FALSE(keeper->confirmed_before());
  keeper.reset();
  boot();
  loop.advance(1s);
  EXPECT_THAT(restored, IsEmpty());
  EXPECT_EQ(item().id, "HWS-SN-007");
}

TEST_F(SnapshotKeeperTest, IsNotServedForAnotherPlanAnotherHostOrTooLate) {
  live_with_plane();
  plan = "all but 443";
  boot();
  EXPECT_FALSE(keeper->confirmed_before());
  loop.advance(1s);
  EXPECT_EQ(item().id, "HWS-SN-007");
  plan = "all";
  identity = "spiffe://mesh/ns/a/sa/other plane p:1";
  boot();
  loop.advance(1s);
  EXPECT_EQ(item().id, "HWS-SN-004");
  identity = "spiffe://mesh/ns/a/sa/b plane p:1";
  loop.advance(25h);
  boot();
  loop.advance(1s);
  EXPECT_EQ(item().id, "HWS-SN-003");
  EXPECT_THAT(restored, IsEmpty());
}

TEST_F(SnapshotKeeperTest, ADamagedTypeThatListenersNeedLeavesItUnusedAnotherOneDoesnt) {
  live_with_plane();
  flip("Workload");
  boot();
  EXPECT_EQ(item().id, "HWS-SN-002");
  loop.advance(1s);
  EXPECT_THAT(restored, ElementsAre(kClusters));
  keeper.reset();
  restored.clear();
  flip("Cluster");
  boot();
  loop.advance(1s);
  EXPECT_THAT(restored, IsEmpty());
  EXPECT_EQ(item().id, "HWS-SN-002");
}

TEST_F(SnapshotKeeperTest, WritesBehindAndNotOftenerThanItMay) {
  boot();
  keeper->on_plane(true);
  keeper->on_accepted();
  loop.advance(900ms);
  EXPECT_EQ(stored(kClusters), "nothing");
  loop.advance(200ms);
  EXPECT_EQ(stored(kClusters), "C1");
  accepted[kClusters] = "C2";
  keeper->on_accepted();
  loop.advance(2s);
  EXPECT_EQ(stored(kClusters), "C1");
  loop.advance(4s);
  EXPECT_EQ(stored(kClusters), "C2");
}

TEST_F(SnapshotKeeperTest, WaitsForAProxyThatHasntTakenAllOfItButNotForEver) {
  boot();
  keeper->on_plane(true);
  settled = false;
  keeper->on_accepted();
  loop.advance(5s);
  EXPECT_EQ(stored(kClusters), "nothing");
  loop.advance(10s);
  EXPECT_EQ(stored(kClusters), "C1");
}

TEST_F(SnapshotKeeperTest, WhileThePlaneAgreesItDoesntGrowOld) {
  boot();
  keeper->on_plane(true);
  keeper->on_accepted();
  loop.advance(2s);
  const auto first = as_of();
  loop.advance(11min);
  EXPECT_GE(as_of() - first, 10min);
  keeper->on_plane(false);
  loop.advance(1s);
  const auto last = as_of();
  EXPECT_GE(last - first, 11min) << "it was here until now";
  loop.advance(1h);
  EXPECT_EQ(as_of(), last);
}

TEST_F(SnapshotKeeperTest, OneThatIsTooLargeIsToldAndNotKept) {
  boot();
  keeper->on_plane(true);
  accepted[kClusters] = std::string((std::size_t{128} << 20) + 1, 'x');
  keeper->on_accepted();
  loop.advance(2s);
  EXPECT_EQ(item().id, "HWS-SN-005");
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_snapshot_saves_total{result=\"failed\"} 1"));
  accepted[kClusters] = "small again";
  loop.advance(2min);
  EXPECT_EQ(stored(kClusters), "small again");
  EXPECT_EQ(item().state, HealthState::kOk);
}

TEST_F(SnapshotKeeperTest, LeavingErasesIt) {
  live_with_plane();
  boot();
  bool erased = false;
  keeper->erase([&](const Status& status) { erased = status.has_value(); });
  loop.run_ready();
  EXPECT_TRUE(erased);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace hawser
