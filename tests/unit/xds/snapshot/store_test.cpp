// SPDX-License-Identifier: Apache-2.0
#include "xds/snapshot/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "../../base/crash.h"
#include "../../broker/temporary_folder.h"
#include "base/file.h"
#include "sample.h"
#include "xds/snapshot/addresses.h"

namespace hawser::xds::snapshot::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SnapshotStore : public ::testing::Test {
 protected:
  ~SnapshotStore() override { disarm(); }
  static void disarm() {
#ifdef HAWSER_FAILPOINTS
    failpoint::arm("");
#endif
  }
  Store store(std::size_t max = std::size_t{1} << 20) const {
    return {folder.path(), max, [this] { return clock; }};
  }
  Manifest saved(const Store::Change& change, const Manifest& before = {}) const {
    auto out = store().save(before, manifest(), change);
    EXPECT_TRUE(out) << out.error().to_string();
    return out.value_or(Manifest());
  }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder.path())) out.push_back(entry.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }
  std::string body(const std::string& type, const std::string& name) const {
    for (const auto& loaded : store().inspect().types)
      for (const auto& resource : loaded.resources)
        if (loaded.header.type_url == type && resource.name == name) return resource.body;
    return "nothing";
  }
  void flip(const std::string& name) const {
    const std::string path = folder / name;
    std::string bytes = *file::read_bounded(path, 1 << 20);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
    std::ofstream(path, std::ios::trunc) << bytes;
  }

  TemporaryFolder folder;
  Loop::Wall clock = kNow;
  const Store::Change both{{type_of(kClusters, {{"c", "one"}}), type_of(kListeners, {{"l", "one"}})}, {}};
};

TEST_F(SnapshotStore, WithoutASnapshotThereIsNoneAndNothingToTell) {
  const auto loaded = store().load();
  EXPECT_FALSE(loaded.manifest);
  EXPECT_THAT(loaded.types, IsEmpty());
  EXPECT_THAT(loaded.notes, IsEmpty());
}

TEST_F(SnapshotStore, WhatIsSavedIsLoaded) {
  saved(both);
  const auto loaded = store().load();
  ASSERT_TRUE(loaded.manifest);
  EXPECT_EQ(loaded.manifest->confirmed_plan, "plan");
  ASSERT_EQ(loaded.types.size(), 2u);
  EXPECT_EQ(body(kClusters, "c"), "one");
  struct stat info {};
  ASSERT_EQ(::stat((folder / "Cluster.1.rec").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u) << "it may hold secrets";
}

TEST_F(SnapshotStore, OnlyChangedTypesAreWrittenAndOldFilesGo) {
  const Manifest first = saved(both);
  struct stat before {};
  ASSERT_EQ(::stat((folder / "Listener.2.rec").c_str(), &before), 0);
  const Manifest second = saved({{type_of(kClusters, {{"c", "two"}})}, {kListeners}}, first);
  EXPECT_THAT(files(), ElementsAre("Cluster.3.rec", "Listener.2.rec", "manifest.pb"));
  struct stat after {};
  ASSERT_EQ(::stat((folder / "Listener.2.rec").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(body(kClusters, "c"), "two");
  EXPECT_EQ(body(kListeners, "l"), "one");
}

TEST_F(SnapshotStore, ATypeThatNobodyAsksForAnyMoreIsDropped) {
  const Manifest first = saved(both);
  saved({{}, {kClusters}}, first);
  EXPECT_THAT(files(), ElementsAre("Cluster.1.rec", "manifest.pb"));
}

TEST_F(SnapshotStore, MoreThanAllowedIsNotWrittenAndWhatWasThereStays) {
  const Manifest first = saved(both);
  const auto refused = store(100).save(first, manifest(), {{type_of(kClusters, {{"c", std::string(101, 'x')}})}, {}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().id(), "HWS-SN-005");
  EXPECT_EQ(body(kClusters, "c"), "one");
  const auto kept =
      store(100).save(first, manifest(), {{type_of(kClusters, {{"c", std::string(40, 'x')}})}, {kListeners}});
  EXPECT_FALSE(kept) << "what stays counts as well";
}

TEST_F(SnapshotStore, ADamagedTypeIsPutAsideAndTheOthersStay) {
  saved(both);
  flip("Cluster.1.rec");
  const auto loaded = store().load();
  ASSERT_TRUE(loaded.manifest);
  EXPECT_THAT(loaded.lost, ElementsAre(kClusters));
  ASSERT_EQ(loaded.types.size(), 1u);
  EXPECT_EQ(loaded.types[0].header.type_url, kListeners);
  ASSERT_EQ(loaded.notes.size(), 1u);
  EXPECT_EQ(loaded.notes[0].id(), "HWS-SN-002");
  EXPECT_NE(loaded.notes[0].where().find("Cluster.1.rec.damaged-1800000000"), std::string::npos);
  EXPECT_THAT(files(), ElementsAre("Cluster.1.rec.damaged-1800000000", "Listener.2.rec", "manifest.pb"));
  EXPECT_THAT(store().load().lost, ElementsAre(kClusters)) << "it isn't forgotten";
  saved({{type_of(kClusters, {{"c", "two"}})}, {kListeners}}, *loaded.manifest);
  EXPECT_THAT(store().load().lost, IsEmpty());
}

TEST_F(SnapshotStore, ADamagedManifestIsTheWholeSnapshot) {
  saved(both);
  flip("manifest.pb");
  const auto loaded = store().load();
  EXPECT_FALSE(loaded.manifest);
  EXPECT_THAT(loaded.types, IsEmpty());
  ASSERT_EQ(loaded.notes.size(), 1u);
  EXPECT_FALSE(fs::exists(folder / "manifest.pb"));
}

TEST_F(SnapshotStore, AFileOfAnotherTimeIsDamage) {
  saved(both);
  const std::string old = *file::read_bounded(folder / "Cluster.1.rec", 1 << 20);
  saved({{type_of(kClusters, {{"c", "two"}})}, {kListeners}}, *store().load().manifest);
  std::ofstream(folder / "Cluster.3.rec", std::ios::trunc) << old;
  EXPECT_THAT(store().load().lost, ElementsAre(kClusters));
}

TEST_F(SnapshotStore, OnlyAFewDamagedFilesAreKept) {
  for (int i = 0; i < 8; ++i) {
    saved(both);
    flip("Cluster.1.rec");
    clock += std::chrono::seconds(60);
    (void)store().load();
  }
  const auto all = files();
  EXPECT_EQ(
      std::count_if(all.begin(), all.end(), [](const auto& n) { return n.find(".damaged-") != std::string::npos; }),
      static_cast<std::ptrdiff_t>(Store::kMostDamaged));
}

TEST_F(SnapshotStore, LookingAtItMovesNothing) {
  saved(both);
  flip("Cluster.1.rec");
  const auto before = files();
  EXPECT_THAT(store().inspect().lost, ElementsAre(kClusters));
  EXPECT_EQ(files(), before);
}

TEST_F(SnapshotStore, LeavingErasesAllOfItAndNothingElse) {
  saved(both);
  flip("Cluster.1.rec");
  (void)store().load();
  ASSERT_TRUE(remember_addresses(folder.path(), "plane", {{"10.0.0.1"}, kNow}));
  std::ofstream(folder / "somebody-elses") << "x";
  ASSERT_TRUE(store().erase());
  EXPECT_THAT(files(), ElementsAre("somebody-elses"));
  ASSERT_TRUE(store().erase());
}

TEST_F(SnapshotStore, AddressesAreRememberedAndOnlyNewsIsWritten) {
  ASSERT_TRUE(remember_addresses(folder.path(), "plane", {{"10.0.0.1", "10.0.0.2"}, kNow}));
  struct stat first {};
  ASSERT_EQ(::stat((folder / "addresses.pb").c_str(), &first), 0);
  ASSERT_TRUE(remember_addresses(folder.path(), "plane", {{"10.0.0.1", "10.0.0.2"}, kNow + std::chrono::hours(1)}));
  struct stat second {};
  ASSERT_EQ(::stat((folder / "addresses.pb").c_str(), &second), 0);
  EXPECT_EQ(first.st_ino, second.st_ino);
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(
        remember_addresses(folder.path(), "h" + std::to_string(i), {{"10.0.0.3"}, kNow + std::chrono::hours(i)}));
  const auto book = load_addresses(folder.path());
  ASSERT_TRUE(book);
  EXPECT_EQ(book->size(), kMostNames);
  EXPECT_THAT(book->at("h49").addresses, ElementsAre("10.0.0.3"));
  EXPECT_FALSE(book->contains("h0")) << "the oldest goes";
}

#ifdef HAWSER_FAILPOINTS

class SnapshotStoreCrash : public SnapshotStore {
 protected:
  void reset() {
    disarm();
    fs::remove_all(folder.path());
    fs::create_directory(folder.path());
    before = saved(both);
  }
  void replace() const { (void)store().save(before, manifest(), {{type_of(kClusters, {{"c", "two"}})}, {kListeners}}); }
  Manifest before;
};

TEST_F(SnapshotStoreCrash, AtAnyStepLeavesTheOldSnapshotOrTheNewOne) {
  reset();
  const auto steps = crash::steps_of([this] { replace(); });
  ASSERT_GE(steps.size(), 15u);
  std::set<std::string> seen;
  for (const auto& step : steps) {
    reset();
    ASSERT_TRUE(crash::dies_at(step, [this] { replace(); })) << step.first;
    const auto loaded = store().load();
    ASSERT_TRUE(loaded.manifest) << step.first;
    EXPECT_THAT(loaded.notes, IsEmpty()) << step.first;
    EXPECT_EQ(loaded.types.size(), 2u) << step.first;
    const std::string left = body(kClusters, "c");
    EXPECT_THAT(left, AnyOf("one", "two")) << step.first;
    EXPECT_FALSE(left == "one" && seen.contains("two")) << "once new, never old again: " << step.first;
    seen.insert(left);
    saved({{type_of(kClusters, {{"c", "three"}})}, {kListeners}}, *loaded.manifest);
    EXPECT_EQ(files().size(), 3u) << "something was left for good after " << step.first;
  }
  EXPECT_THAT(seen, ElementsAre("one", "two"));
}

TEST_F(SnapshotStoreCrash, AFailedStepIsToldAndTheSnapshotStaysWhole) {
  reset();
  for (const auto& [name, time] : crash::steps_of([this] { replace(); })) {
    reset();
    failpoint::arm(name + ":errno=ENOSPC@" + std::to_string(time));
    const auto result = store().save(before, manifest(), {{type_of(kClusters, {{"c", "two"}})}, {kListeners}});
    failpoint::arm("");
    if (!result) {
      EXPECT_EQ(result.error().id(), "HWS-SN-006") << name;
    }
    EXPECT_THAT(body(kClusters, "c"), AnyOf("one", "two")) << name;
    EXPECT_THAT(store().load().lost, IsEmpty()) << name;
  }
}

TEST_F(SnapshotStoreCrash, WhileErasingCanBeRepeated) {
  reset();
  for (const auto& step : crash::steps_of([this] { (void)store().erase(); })) {
    reset();
    ASSERT_TRUE(crash::dies_at(step, [this] { (void)store().erase(); })) << step.first;
    EXPECT_THAT(store().load().lost, IsEmpty()) << step.first;
    ASSERT_TRUE(store().erase()) << step.first;
    EXPECT_THAT(files(), IsEmpty()) << step.first;
  }
}

#endif

}  // namespace
}  // namespace hawser::xds::snapshot::test
