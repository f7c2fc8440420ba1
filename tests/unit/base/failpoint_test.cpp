// SPDX-License-Identifier: Apache-2.0
#include "base/failpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "crash.h"

namespace hawser {
namespace {

#ifdef HAWSER_FAILPOINTS

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::ElementsAre;

class Failpoint : public ::testing::Test {
 protected:
  Failpoint() { reset(); }
  ~Failpoint() override {
    failpoint::arm("");
    fs::remove_all(folder_);
  }
  void reset() {
    failpoint::arm("");
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    ASSERT_TRUE(file::write_atomic(state(), kOld, 0600));
    ASSERT_TRUE(file::link_atomic("old", link()));
  }
  std::string state() const { return folder_ + "/state"; }
  std::string link() const { return folder_ + "/link"; }
  std::string content() const { return file::read_bounded(state(), 1 << 20).value_or("lost"); }
  std::string target() const {
    std::error_code error;
    return fs::read_symlink(link(), error).string();
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_)) out.push_back(entry.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }

  const std::string kOld = std::string(20000, 'o');
  const std::string kNew = std::string(30000, 'n');
  const std::string folder_ = (fs::temp_directory_path() / ("hawser-failpoint-" + std::to_string(getpid()))).string();
};

TEST_F(Failpoint, StepsComeInTheOrderThatSurvivesAPowerCut) {
  failpoint::arm("");
  ASSERT_TRUE(file::write_atomic(state(), kNew, 0600));
  const std::string folder = fs::path(folder_).filename().string();
  EXPECT_THAT(failpoint::passed(), ElementsAre("write.open/state.new", "write.mode/state.new", "write.data/state.new",
                                               "write.data/state.new", "write.sync/state.new", "rename/state",
                                               "folder.sync/" + folder, "folder.synced/" + folder));
}

TEST_F(Failpoint, ACrashAtAnyStepOfAWriteLeavesTheOldContentOrTheNew) {
  const auto write = [this] { (void)file::write_atomic(state(), kNew, 0600); };
  const auto steps = crash::steps_of(write);
  ASSERT_GE(steps.size(), 8U);
  bool renamed = false;
  for (const auto& step : steps) {
    reset();
    ASSERT_TRUE(crash::dies_at(step, write)) << step.first;
    renamed = renamed || step.first.rfind("folder.", 0) == 0;
    EXPECT_EQ(content(), renamed ? kNew : kOld) << step.first << " " << step.second;
    ASSERT_TRUE(file::write_atomic(state(), "after", 0600)) << step.first;
    EXPECT_EQ(content(), "after");
    EXPECT_THAT(names(), ElementsAre("link", "state")) << "a crash left something for good at " << step.first;
  }
}

TEST_F(Failpoint, AStepThatFailsIsToldAndLeavesTheOldContentAndNothingElse) {
  const auto steps = crash::steps_of([this] { (void)file::write_atomic(state(), kNew, 0600); });
  for (const auto& [name, time] : steps) {
    reset();
    failpoint::arm(name + ":errno=ENOSPC@" + std::to_string(time));
    const Status written = file::write_atomic(state(), kNew, 0600);
    ASSERT_FALSE(written) << name;
    EXPECT_EQ(written.error().id(), "HWS-FS-001") << name;
    EXPECT_EQ(written.error().code(), Code::kResourceExhausted) << name;
    // After the rename the new content is there; what failed is the promise that it outlasts a power cut.
    EXPECT_EQ(content(), name.rfind("folder.", 0) == 0 ? kNew : kOld) << name;
    EXPECT_THAT(names(), ElementsAre("link", "state")) << name;
  }
}

TEST_F(Failpoint, ACrashAtAnyStepOfALinkLeavesTheOldTargetOrTheNew) {
  const auto relink = [this] { (void)file::link_atomic("new", link()); };
  const auto steps = crash::steps_of(relink);
  ASSERT_GE(steps.size(), 4U);
  for (const auto& step : steps) {
    reset();
    ASSERT_TRUE(crash::dies_at(step, relink)) << step.first;
    EXPECT_EQ(target(), step.first.rfind("folder.", 0) == 0 ? "new" : "old") << step.first;
    ASSERT_TRUE(file::link_atomic("after", link()));
    EXPECT_EQ(target(), "after");
    EXPECT_THAT(names(), ElementsAre("link", "state"));
  }
}

TEST_F(Failpoint, ARemovalIsDoneOrNotAndMayBeRepeated) {
  const auto remove = [this] { (void)file::remove_durable(state()); };
  for (const auto& step : crash::steps_of(remove)) {
    reset();
    ASSERT_TRUE(crash::dies_at(step, remove)) << step.first;
    EXPECT_EQ(content(), step.first == "remove/state" ? kOld : "lost") << step.first;
    EXPECT_TRUE(file::remove_durable(state()));
    EXPECT_FALSE(file::exists(state()));
  }
}

TEST_F(Failpoint, AFailedRemovalIsTold) {
  failpoint::arm("remove/state:errno=EROFS");
  const Status removed = file::remove_durable(state());
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().id(), "HWS-FS-001");
  EXPECT_EQ(content(), kOld);
}

TEST_F(Failpoint, PatternsChooseByFileAndPassage) {
  failpoint::arm("rename/sta*:errno=EIO@2");
  EXPECT_TRUE(file::write_atomic(state(), "1", 0600));
  EXPECT_TRUE(file::write_atomic(folder_ + "/other", "1", 0600));
  EXPECT_FALSE(file::write_atomic(state(), "2", 0600));
  EXPECT_TRUE(file::write_atomic(state(), "3", 0600));
}

TEST(FailpointDeathTest, ATextThatIsNotUnderstoodEndsTheProgram) {
  for (const char* text : {"rename", ":crash", "rename:", "rename:errno=ENOTHING", "rename:crash@0", "rename:crash@2x",
                           "rename:delay=", "rename:delay=60001"})
    EXPECT_DEATH(failpoint::arm(text), "isn't PATTERN:crash") << text;
}

#else

TEST(Failpoint, IsCompiledOut) {
  EXPECT_FALSE(failpoint::kEnabled);
  static_assert(!failpoint::kEnabled);
}

#endif

}  // namespace
}  // namespace hawser
