// SPDX-License-Identifier: Apache-2.0
#include "proxy/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/fake_loop.h"
#include "base/file.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;

// Does its work when told, so that something can happen meanwhile.
class LaterWorker final : public SlowWorker {
 public:
  void submit(std::function<void()> work) override { queue.push_back(std::move(work)); }
  void run() {
    for (auto& work : std::exchange(queue, {})) work();
  }
  std::vector<std::function<void()>> queue;
};

struct HistoryTest : testing::Test {
  ~HistoryTest() override { std::filesystem::remove_all(folder); }

  History::Storage storage(const std::string& boot) { return {&worker, path, boot}; }
  void write() {
    while (!worker.queue.empty()) {
      worker.run();
      loop.run_ready();
    }
  }

  std::string folder = [] {
    std::string name = testing::TempDir() + "/history-XXXXXX";
    return std::string(::mkdtemp(name.data()));
  }();
  std::string path = folder + "/history.json";
  FakeLoop loop;
  LaterWorker worker;
};

TEST_F(HistoryTest, GoesOnAfterAReboot) {
  {
    History first(loop, storage("one"));
    first.restore();
    first.state("f1e0", "WARMING", "LIVE", "f1e0 is LIVE", {42, "5ha", "1.40.0"});
    first.gate("f1e1", "ready", false, "503 \xff", milliseconds(12));
    write();
  }
  History second(loop, storage("two"));
  second.restore();
  second.state("f1e0", "LIVE", "ENDED", "exit 1");
  const auto all = second.after(0);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].name, "LIVE");
  EXPECT_EQ(all[0].pid, 42);
  EXPECT_EQ(all[0].binary_sha256, "5ha");
  EXPECT_EQ(all[0].version, "1.40.0");
  EXPECT_EQ(all[0].boot, "one");
  EXPECT_EQ(all[0].at, loop.wall());
  EXPECT_EQ(all[1].kind, History::Entry::Kind::kGate);
  EXPECT_FALSE(all[1].passed);
  EXPECT_EQ(all[1].took, milliseconds(12));
  EXPECT_EQ(all[2].id, 3U);
  EXPECT_EQ(all[2].boot, "two");
  EXPECT_EQ(second.after(2).size(), 1U);
}

TEST_F(HistoryTest, WritesOneAtATimeAndThenTheNewest) {
  History history(loop, storage("b"));
  for (int i = 0; i < 300; ++i) history.state("f1e0", "A", "B", std::to_string(i));
  EXPECT_EQ(worker.queue.size(), 1U);
  worker.run();
  loop.run_ready();
  EXPECT_EQ(worker.queue.size(), 1U);
  write();
  History later(loop, storage("b"));
  later.restore();
  ASSERT_EQ(later.after(0).size(), History::kKept);
  EXPECT_EQ(later.after(0).back().reason, "299");
  EXPECT_EQ(later.last(), 300U);
}

TEST_F(HistoryTest, ADamagedFileIsPutAside) {
  History first(loop, storage("b"));
  first.state("f1e0", "A", "B", "");
  write();
  const auto whole = *file::read_bounded(path, 1U << 20U);
  for (const auto& bad : {std::string(), std::string("{}"), std::string("[1]"), whole.substr(0, whole.size() / 2)}) {
    std::filesystem::remove(path + ".damaged");
    ASSERT_TRUE(file::write_atomic(path, bad, 0600));
    History next(loop, storage("b"));
    next.restore();
    EXPECT_TRUE(next.after(0).empty());
    EXPECT_TRUE(file::exists(path + ".damaged")) << bad;
    EXPECT_FALSE(file::exists(path));
  }
}

TEST_F(HistoryTest, ForgetsBehindAWrite) {
  History history(loop, storage("b"));
  history.state("f1e0", "A", "B", "");
  history.forget();
  history.state("f1e0", "B", "C", "");
  write();
  EXPECT_FALSE(file::exists(path));
}

TEST_F(HistoryTest, CutsALongReason) {
  History history(loop);
  history.state("f1e0", "A", "B", std::string(5000, 'x'));
  EXPECT_EQ(history.after(0).front().reason.size(), History::kMaxReason);
}

}  // namespace
}  // namespace hawser::proxy
