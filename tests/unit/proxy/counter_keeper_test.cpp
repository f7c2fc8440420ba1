// SPDX-License-Identifier: Apache-2.0
#include "proxy/counter_keeper.h"

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "supervisor_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

std::string requests(int count) {
  return "# TYPE rq counter\nrq{} " + std::to_string(count) + "\n";
}

// A driver that says what each generation counts, and when it has flushed.
struct CountingDriver final : fake::Driver {
  CountingDriver() { can.flush_mark = true; }
  void scrape(const std::string& generation, Done<std::string> done) override {
    ++scrapes;
    const auto found = counts.find(generation);
    done(found == counts.end() ? Result<std::string>(fake::down()) : Result<std::string>(requests(found->second)));
  }
  void flush_mark(const std::string&, Done<std::uint64_t> done) override { done(mark); }

  std::map<std::string, int> counts;
  Result<std::uint64_t> mark = std::uint64_t{5};
  int scrapes = 0;
};

struct CounterKeeperTest : testing::Test {
  CounterKeeperTest() { make(); }
  ~CounterKeeperTest() override { std::filesystem::remove_all(folder); }

  void make() {
    CounterKeeper::Options options;
    options.path = folder + "/counters";
    options.boot = "b";
    keeper = std::make_unique<CounterKeeper>(loop, worker, driver, metrics, options);
    keeper->restore();
    keeper->follow([this] { return running; });
  }
  std::string scrape() {
    std::string out = "nothing";
    keeper->scrape([&out](const Result<std::string>& text) { out = text ? *text : text.error().id(); });
    loop.run_ready();
    return out;
  }

  std::string folder = [] {
    std::string name = testing::TempDir() + "/counters-XXXXXX";
    return std::string(::mkdtemp(name.data()));
  }();
  FakeLoop loop;
  InlineWorker worker;
  Metrics metrics;
  CountingDriver driver;
  std::vector<Counters::Generation> running;
  std::unique_ptr<CounterKeeper> keeper;
};

TEST_F(CounterKeeperTest, SaysWhyThereIsNothing) {
  EXPECT_EQ(scrape(), "HWS-PX-001");
  running = {{"f1e0", 10}};
  EXPECT_EQ(scrape(), fake::down().id());
}

TEST_F(CounterKeeperTest, TellsOnWhileNothingRuns) {
  running = {{"f1e0", 10}};
  driver.counts["f1e0"] = 7;
  EXPECT_EQ(scrape(), requests(7));
  running.clear();
  EXPECT_EQ(scrape(), requests(7));
}

TEST_F(CounterKeeperTest, OneThatEndedIsKeptByTheNextHawserd) {
  running = {{"f1e0", 10}};
  driver.counts["f1e0"] = 7;
  scrape();
  running = {{"f1e0", 20}};
  driver.counts["f1e0"] = 1;
  scrape();
  make();
  EXPECT_EQ(scrape(), requests(8));
}

TEST_F(CounterKeeperTest, ALaterHawserdTellsNothingBeforeItKnowsMoreThanTheFile) {
  running = {{"f1e0", 10}};
  driver.counts["f1e0"] = 7;
  keeper->read_last([] {});
  loop.run_ready();
  driver.counts["f1e0"] = 9;
  EXPECT_EQ(scrape(), requests(9));
  running.clear();
  make();
  EXPECT_EQ(scrape(), "HWS-PX-001");  // 7 would go back
  running = {{"f1e0", 10}};
  EXPECT_EQ(scrape(), requests(9));
}

TEST_F(CounterKeeperTest, ReadsByItselfForTheCaseOfACrash) {
  running = {{"f1e0", 10}};
  driver.counts["f1e0"] = 7;
  scrape();
  driver.counts["f1e0"] = 9;
  loop.advance(seconds(31));
  driver.counts.erase("f1e0");  // dead
  EXPECT_EQ(scrape(), requests(9));
}

TEST_F(CounterKeeperTest, AHandOverWaitsForAFlushAndForTheDisk) {
  running = {{"f1e0", 10}};
  driver.counts["f1e0"] = 7;
  scrape();
  bool gone_on = false;
  keeper->read_before_hand_over("f1e0", [&gone_on] { gone_on = true; });
  loop.advance(milliseconds(500));
  EXPECT_FALSE(gone_on);
  driver.counts["f1e0"] = 8;
  driver.mark = std::uint64_t{6};
  loop.advance(milliseconds(100));
  EXPECT_TRUE(gone_on);
  EXPECT_THAT(*file::read_bounded(folder + "/counters", 4096), HasSubstr("rq{} 8"));
}

TEST_F(CounterKeeperTest, AHandOverGoesOnWithoutAFlush) {
  running = {{"f1e0", 10}};
  driver.counts["f1e0"] = 7;
  bool gone_on = false;
  keeper->read_before_hand_over("f1e0", [&gone_on] { gone_on = true; });
  loop.advance(seconds(2));
  EXPECT_TRUE(gone_on);
  driver.mark = fake::down();
  gone_on = false;
  keeper->read_before_hand_over("f1e0", [&gone_on] { gone_on = true; });
  loop.run_ready();
  EXPECT_TRUE(gone_on);
}

TEST_F(CounterKeeperTest, ADamagedFileIsPutAside) {
  ASSERT_TRUE(file::write_atomic(folder + "/counters", "rubbish", 0600));
  make();
  EXPECT_EQ(scrape(), "HWS-PX-001");  // nobody runs
  EXPECT_TRUE(file::exists(folder + "/counters.damaged"));
  EXPECT_FALSE(file::exists(folder + "/counters"));
}

TEST_F(CounterKeeperTest, ForgetsWhenTheHostLeaves) {
  running = {{"f1e0", 10}};
  driver.counts["f1e0"] = 7;
  scrape();
  keeper->read_last([] {});
  loop.run_ready();
  ASSERT_TRUE(file::exists(folder + "/counters"));
  keeper->forget();
  EXPECT_FALSE(file::exists(folder + "/counters"));
}

struct CountingSupervisorTest : CounterKeeperTest {
  fake::Host host{loop};
  fake::Watcher watcher;
  status::HealthItems health{loop, metrics};
};

TEST_F(CountingSupervisorTest, FollowsTheSupervisor) {
  keeper->follow({});
  Supervisor::Options options;
  options.bootstrap = [](const std::string&) { return std::string("{}"); };
  options.counters = keeper.get();
  driver.seen = fake::live_probe();
  Supervisor supervisor(loop, host, driver, watcher, options, health, metrics);
  supervisor.start([](const std::string&, pid_t) {}, [](const std::string&) {});
  loop.run_ready();
  driver.counts["f1e0"] = 7;
  EXPECT_EQ(scrape(), requests(7));
  driver.kernel = fake::live_probe().listeners;
  ProbeResult second = fake::live_probe();
  second.epoch = 1;
  driver.seen_of.emplace("f1e1", second);
  supervisor.restart({}, [](const Result<Supervisor::Restarted>&) {});
  loop.run_ready();
  EXPECT_EQ(supervisor.status().state, "HANDING_OVER");
  EXPECT_EQ(supervisor.status().generation, "f1e0");
  driver.counts["f1e0"] = 9;
  driver.mark = std::uint64_t{6};
  loop.advance(milliseconds(100));
  EXPECT_EQ(supervisor.status().generation, "f1e1");
  driver.counts = {{"f1e1", 3}};
  EXPECT_EQ(scrape(), requests(12));
  host.finish(0, "f1e0");
  loop.advance(seconds(10));
  EXPECT_EQ(scrape(), requests(12));
  // A read before it is ended.
  driver.counts["f1e1"] = 4;
  supervisor.stop(seconds(0), [](const Status&) {});
  loop.advance(seconds(1));
  driver.counts.clear();
  EXPECT_EQ(scrape(), requests(13));
}

}  // namespace
}  // namespace hawser::proxy
