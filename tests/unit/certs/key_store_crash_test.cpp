// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "../base/crash.h"
#include "certs/key_store.h"
#include "certs/utc.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

namespace fs = std::filesystem;
using test::around;
using test::kSpiffe;
using ::testing::AnyOf;

const Loop::Wall kNow = wall_of(1'700'000'000);

class KeyStoreCrash : public ::testing::Test {
 protected:
  ~KeyStoreCrash() override { failpoint::arm(""); }

  // Two generations, so that a third also has one to drop. Copied, because a disk takes its time for each sync.
  void reset() {
    failpoint::arm("");
    if (!fs::exists(prepared.at("kept/current"))) {
      ASSERT_TRUE(open().store(*oldest));
      ASSERT_TRUE(open().store(*old));
      fs::rename(state.path(), prepared.at("kept"));
    }
    fs::remove_all(state.path());
    fs::copy(prepared.at("kept"), state.path(), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  }
  KeyStore open() const {
    auto opened = KeyStore::open(state.path());
    EXPECT_TRUE(opened) << opened.error().to_string();
    return *opened;
  }
  // Which identity is on disk: its key and its chain are one pair, because load() refuses anything else.
  std::string found() const {
    const auto loaded = open().load();
    if (!loaded.identity) return "none";
    for (const auto& [name, identity] : {std::pair("oldest", oldest), std::pair("old", old), std::pair("fresh", fresh)})
      if (loaded.identity->serial == identity->serial && loaded.identity->key_pem == identity->key_pem &&
          loaded.identity->chain_pem == identity->chain_pem && loaded.identity->roots_pem == identity->roots_pem)
        return name;
    return "mixed";
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(state.path()), fs::directory_iterator{}));
  }
  void damage_current() const { std::ofstream(state.at("current/key.pem"), std::ios::trunc) << "garbage"; }

  test::TestCa ca{"mesh"};
  test::TempFolder state;
  test::TempFolder prepared;
  const IdentityPtr oldest = ca.identity(kSpiffe, around(kNow));
  const IdentityPtr old = ca.identity(kSpiffe, around(kNow));
  const IdentityPtr fresh = ca.identity(kSpiffe, around(kNow));
};

TEST_F(KeyStoreCrash, AtAnyStepOfAReplacementLeavesOneWholeIdentity) {
  const auto replace = [this] { (void)open().store(*fresh); };
  reset();
  const auto steps = crash::steps_of(replace);
  ASSERT_GE(steps.size(), 40U);  // four files, the link, folders
  int before = 0;
  int after = 0;
  for (const auto& step : steps) {
    reset();
    ASSERT_TRUE(crash::dies_at(step, replace)) << step.first;
    const std::string left = found();
    EXPECT_THAT(left, AnyOf("old", "fresh")) << step.first << " " << step.second;
    // Once new, never old again: the order of steps, not luck, says which.
    if (left == "fresh") ++after;
    if (left == "old") {
      ++before;
      EXPECT_EQ(after, 0) << step.first << " " << step.second;
    }
    ASSERT_TRUE(open().store(*fresh)) << step.first;
    EXPECT_EQ(found(), "fresh");
    EXPECT_EQ(entries(), 3U) << "something was left for good after " << step.first;
  }
  EXPECT_GT(before, 0);
  EXPECT_GT(after, 0);
}

TEST_F(KeyStoreCrash, DuringTheFirstStoreLeavesNothingOrTheWholeIdentity) {
  const auto store = [this] { (void)open().store(*fresh); };
  failpoint::arm("");
  fs::remove_all(state.path());
  for (const auto& step : crash::steps_of(store)) {
    fs::remove_all(state.path());
    ASSERT_TRUE(crash::dies_at(step, store)) << step.first;
    EXPECT_THAT(found(), AnyOf("none", "fresh")) << step.first;
    ASSERT_TRUE(open().store(*fresh));
    EXPECT_EQ(found(), "fresh");
  }
}

TEST_F(KeyStoreCrash, AFailedStepIsToldAndTheIdentityStays) {
  reset();
  const auto steps = crash::steps_of([this] { (void)open().store(*fresh); });
  bool in_force = false;
  for (const auto& [name, time] : steps) {
    reset();
    failpoint::arm(name + ":errno=ENOSPC@" + std::to_string(time));
    const Status stored = open().store(*fresh);
    failpoint::arm("");
    if (name == "drop/gen-1") {  // that an old one stays is nothing to refuse a new one for
      EXPECT_TRUE(stored);
    } else {
      ASSERT_FALSE(stored) << name;
      EXPECT_EQ(stored.error().id(), "HWS-ID-005") << name;
      EXPECT_TRUE(stored.error().retryable()) << name;
    }
    const std::string left = found();
    EXPECT_THAT(left, AnyOf("old", "fresh")) << name;
    in_force = in_force || left == "fresh";
    EXPECT_EQ(left, in_force ? "fresh" : "old") << name << " " << time;
    ASSERT_TRUE(open().store(*fresh)) << name;
    EXPECT_EQ(found(), "fresh");
    EXPECT_EQ(entries(), 3U) << "something was left for good after " << name;
  }
}

TEST_F(KeyStoreCrash, WhileDamageIsPutAsideStillFallsBack) {
  const auto load = [this] { (void)open().load(); };
  reset();
  damage_current();
  const auto steps = crash::steps_of(load);
  ASSERT_GE(steps.size(), 6U);
  for (const auto& step : steps) {
    fs::remove_all(state.path());
    reset();
    damage_current();
    ASSERT_TRUE(crash::dies_at(step, load)) << step.first;
    EXPECT_EQ(found(), "oldest") << step.first;
    EXPECT_EQ(found(), "oldest") << step.first;
  }
}

TEST_F(KeyStoreCrash, AnIdentityThatCannotBeReadNowIsNoDamage) {
  reset();
  for (const char* error : {"EMFILE", "EIO", "EACCES", "ENOMEM"}) {
    failpoint::arm(std::string("read.open/*:errno=") + error);
    const auto loaded = open().load();
    failpoint::arm("");
    EXPECT_EQ(loaded.identity, nullptr) << error;
    ASSERT_EQ(loaded.notes.size(), 1U) << error;
    EXPECT_EQ(loaded.notes.front().id(), "HWS-ID-023") << error;
    EXPECT_EQ(found(), "old") << error;
  }
}

TEST_F(KeyStoreCrash, WhileLeavingCanBeRepeated) {
  const auto erase = [this] { (void)open().erase(); };
  reset();
  for (const auto& step : crash::steps_of(erase)) {
    reset();
    ASSERT_TRUE(crash::dies_at(step, erase)) << step.first;
    EXPECT_THAT(found(), AnyOf("old", "none")) << step.first;
    ASSERT_TRUE(open().erase());
    EXPECT_EQ(entries(), 0U) << step.first;
  }
}

}  // namespace
}  // namespace hawser::certs
