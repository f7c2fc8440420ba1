// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/last_good.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "temporary_folder.h"

namespace hawser::broker {
namespace {

class LastGoodTest : public testing::Test {
 protected:
  static Generations::Wanted wanted(const std::string& name) {
    return {name, R"({"path": "/run/hawser/proxy/)" + name + R"(.admin.sock"})", "abc", {"--concurrency", "2"}};
  }

  TemporaryFolder folder_;
  LastGood last_good_{folder_ / ""};
};

TEST_F(LastGoodTest, OnlyWhatWasConfirmedIsGood) {
  ASSERT_TRUE(last_good_.remember_started(wanted("f1e0"), "1.40.0"));
  EXPECT_EQ(last_good_.load().error().id(), "HWS-BR-051");
  ASSERT_TRUE(last_good_.promote("f1e0"));
  ASSERT_TRUE(last_good_.remember_started(wanted("f2e0"), "1.40.0"));
  const auto good = last_good_.load();
  ASSERT_TRUE(good);
  EXPECT_EQ(good->generation, "f1e0");
  EXPECT_EQ(good->binary_sha256, "abc");
  EXPECT_EQ(good->args, wanted("f1e0").args);
  EXPECT_EQ(good->bootstrap, wanted("f1e0").bootstrap);
}

TEST_F(LastGoodTest, AnotherGenerationThanTheOneStartedLastIsNotPromoted) {
  ASSERT_TRUE(last_good_.remember_started(wanted("f1e1"), "1.40.0"));
  ASSERT_TRUE(last_good_.promote("f1e0"));
  EXPECT_FALSE(last_good_.load());
}

TEST_F(LastGoodTest, ALaterEpochIsStartedColdAsTheFirstOfItsFamily) {
  ASSERT_TRUE(last_good_.remember_started(wanted("f3e12"), "1.40.0"));
  ASSERT_TRUE(last_good_.promote("f3e12"));
  const auto good = last_good_.load();
  ASSERT_TRUE(good);
  EXPECT_EQ(good->generation, "f3e0");
  EXPECT_EQ(good->bootstrap, wanted("f3e0").bootstrap);
}

TEST_F(LastGoodTest, ADamagedFileIsNamed) {
  folder_.write("last_good.pb", "\xff\xff\xff");
  EXPECT_EQ(last_good_.load().error().id(), "HWS-BR-051");
}

TEST_F(LastGoodTest, ForgettingLeavesNothing) {
  ASSERT_TRUE(last_good_.remember_started(wanted("f1e0"), "1.40.0"));
  ASSERT_TRUE(last_good_.promote("f1e0"));
  ASSERT_TRUE(last_good_.forget());
  EXPECT_FALSE(file::exists(folder_ / "started.pb"));
  EXPECT_FALSE(file::exists(folder_ / "last_good.pb"));
  ASSERT_TRUE(last_good_.forget());
}

}  // namespace
}  // namespace hawser::broker
