// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/binary_store.h"

#include <gtest/gtest.h>
#include <sha2.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "temporary_folder.h"

namespace hawser::proxy {
namespace {

std::string sha256(const std::string& content) {
  char hex[SHA256_DIGEST_STRING_LENGTH];
  return ::SHA256Data(reinterpret_cast<const std::uint8_t*>(content.data()), content.size(), hex);
}

class BinaryStoreTest : public testing::Test {
 protected:
  // Puts a program under the digest of `named_after`; its path.
  std::string install(const std::string& content, const std::string& named_after) {
    const std::string digest = sha256(named_after);
    ::mkdir((folder_ / digest).c_str(), 0755);
    const std::string path = folder_.write(digest + "/envoy", content);
    ::chmod(path.c_str(), 0755);
    ::unlink((folder_ / "current").c_str());
    EXPECT_EQ(::symlink(digest.c_str(), (folder_ / "current").c_str()), 0);
    return path;
  }

  std::string id_of(const std::string& digest) {
    auto binary = store_.resolve(digest);
    return binary ? "resolved" : binary.error().id();
  }

  TemporaryFolder folder_;
  BinaryStore store_{folder_.path(), ::geteuid()};
};

TEST_F(BinaryStoreTest, TheCurrentBinaryAndANamedOneAreFound) {
  const std::string path = install("program", "program");
  auto current = store_.resolve("");
  ASSERT_TRUE(current) << current.error().to_string();
  EXPECT_EQ(current->path, path);
  EXPECT_EQ(current->sha256, sha256("program"));
  EXPECT_EQ(store_.resolve(current->sha256)->path, path);
}

TEST_F(BinaryStoreTest, AnEmptyStoreSaysHowToFillIt) {
  auto binary = store_.resolve("");
  ASSERT_FALSE(binary);
  EXPECT_EQ(binary.error().id(), "HWS-BR-030");
  EXPECT_NE(binary.error().hint().find("hawser proxy install"), std::string::npos);
}

TEST_F(BinaryStoreTest, ContentThatDiffersFromItsNameIsRefused) {
  install("something else", "program");
  EXPECT_EQ(id_of(""), "HWS-BR-032");
}

TEST_F(BinaryStoreTest, AChangeAfterTheFirstLookIsNoticed) {
  const std::string path = install("program", "program");
  EXPECT_EQ(id_of(""), "resolved");
  folder_.write(sha256("program") + "/envoy", "pr0gram");
  EXPECT_EQ(id_of(""), "HWS-BR-032");
}

TEST_F(BinaryStoreTest, WhatWasVerifiedIsKnownAfterARestartUntilItChanges) {
  install("program", "program");
  const std::string memory = folder_ / "verified";
  {
    BinaryStore before(folder_.path(), ::geteuid(), memory);
    ASSERT_TRUE(before.resolve(""));
  }
  // A file that claims to have been seen: so it is taken, and not hashed.
  const std::string path = install("something else", "other");
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  const auto ns = [](const timespec& time) { return std::to_string(time.tv_sec * 1'000'000'000LL + time.tv_nsec); };
  const std::string known = file::read_bounded(memory, 4096).value();
  folder_.write("verified", known + sha256("other") + " " + std::to_string(info.st_dev) + " " +
                                std::to_string(info.st_ino) + " " + std::to_string(info.st_size) + " " +
                                ns(info.st_mtim) + " " + ns(info.st_ctim) + "\n");
  BinaryStore after(folder_.path(), ::geteuid(), memory);
  EXPECT_TRUE(after.resolve(sha256("other")));
  EXPECT_TRUE(after.resolve(sha256("program")));
  ::chmod(path.c_str(), 0700);
  ::chmod(path.c_str(), 0755);  // changes nothing but the time of change
  auto changed = after.resolve(sha256("other"));
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().id(), "HWS-BR-032");
}

TEST_F(BinaryStoreTest, ForgettingLeavesNoFile) {
  install("program", "program");
  BinaryStore store(folder_.path(), ::geteuid(), folder_ / "verified");
  ASSERT_TRUE(store.resolve(""));
  ASSERT_TRUE(file::exists(folder_ / "verified"));
  EXPECT_TRUE(store.forget());
  EXPECT_FALSE(file::exists(folder_ / "verified"));
}

TEST_F(BinaryStoreTest, ADamagedMemoryOnlyCostsTime) {
  install("program", "program");
  folder_.write("verified", sha256("program") + " 1 x");
  BinaryStore store(folder_.path(), ::geteuid(), folder_ / "verified");
  EXPECT_TRUE(store.resolve(""));
}

TEST_F(BinaryStoreTest, WhatOthersMayWriteIsRefused) {
  const std::string path = install("program", "program");
  ::chmod(path.c_str(), 0775);
  EXPECT_EQ(id_of(""), "HWS-BR-031");
  ::chmod(path.c_str(), 0755);
  ::chmod((folder_ / sha256("program")).c_str(), 0777);
  EXPECT_EQ(id_of(""), "HWS-BR-031");
}

TEST_F(BinaryStoreTest, AnotherOwnerIsRefused) {
  install("program", "program");
  BinaryStore foreign(folder_.path(), ::geteuid() + 1);
  EXPECT_EQ(foreign.resolve("").error().id(), "HWS-BR-031");
}

TEST_F(BinaryStoreTest, LinksLeadNowhereElse) {
  const std::string path = install("program", "program");
  ::unlink(path.c_str());
  const std::string outside = folder_.write("outside", "program");
  EXPECT_EQ(::symlink(outside.c_str(), path.c_str()), 0);
  EXPECT_EQ(id_of(""), "HWS-BR-030");
  ::unlink((folder_ / "current").c_str());
  EXPECT_EQ(::symlink("/usr/bin", (folder_ / "current").c_str()), 0);
  EXPECT_EQ(id_of(""), "HWS-BR-031");
}

TEST_F(BinaryStoreTest, ANameThatIsNoDigestIsRefused) {
  for (const char* name : {"../../bin", "abc", "current"}) EXPECT_EQ(id_of(name), "HWS-BR-030") << name;
}

TEST_F(BinaryStoreTest, AQuarantinedBinaryIsNotGivenOutUntilItIsAllowedAgain) {
  install("bad", "bad");
  install("good", "good");
  ASSERT_TRUE(store_.quarantine(sha256("bad"), "it crashed", 1'700'000'000));
  auto refused = store_.resolve(sha256("bad"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().id(), "HWS-BR-027");
  EXPECT_NE(refused.error().message().find("it crashed"), std::string::npos);
  EXPECT_EQ(id_of(""), "resolved");
  ASSERT_TRUE(store_.folder().lift_quarantine(sha256("bad")));
  EXPECT_EQ(id_of(sha256("bad")), "resolved");
}

TEST_F(BinaryStoreTest, AQuarantineTellsWhySinceWhenAndByWhom) {
  install("good", "good");
  install("bad", "bad");
  ASSERT_TRUE(store_.mark_good(sha256("good")));
  // A program's own words may be anything.
  ASSERT_TRUE(store_.quarantine(sha256("bad"), "it said \"\xff\"", 1'700'000'000));
  const auto why = store_.folder().quarantine(sha256("bad"));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->reason.rfind("it said \"", 0), 0U);
  EXPECT_EQ(why->since, 1'700'000'000);
  EXPECT_EQ(why->by, "hawserd");
  struct stat info {};
  ASSERT_EQ(::stat((folder_ / sha256("bad") + "/quarantine.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644U);
}

TEST_F(BinaryStoreTest, AQuarantineThatCannotBeReadCounts) {
  install("bad", "bad");
  folder_.write(sha256("bad") + "/quarantine.json", "{");
  EXPECT_EQ(id_of(""), "HWS-BR-027");
}

TEST_F(BinaryStoreTest, WithTheCurrentOneQuarantinedTheLastGoodOneIsCurrent) {
  install("good", "good");
  ASSERT_TRUE(store_.mark_good(sha256("good")));
  install("bad", "bad");
  EXPECT_EQ(store_.resolve("")->sha256, sha256("bad"));
  ASSERT_TRUE(store_.quarantine(sha256("bad"), "it crashed", 1));
  EXPECT_EQ(store_.resolve("")->sha256, sha256("good"));
  EXPECT_EQ(store_.mark_good(sha256("bad")).error().id(), "HWS-BR-027");
  EXPECT_EQ(store_.folder().target(BinaryLink::kLastGood), sha256("good"));
}

TEST_F(BinaryStoreTest, TheOnlyOneThatMayBeStartedIsNeverQuarantined) {
  install("only", "only");
  EXPECT_EQ(store_.quarantine(sha256("only"), "it crashed", 1).error().id(), "HWS-BR-028");
  EXPECT_EQ(id_of(""), "resolved");
  ASSERT_TRUE(store_.mark_good(sha256("only")));
  EXPECT_EQ(store_.quarantine(sha256("only"), "it crashed", 1).error().id(), "HWS-BR-028");
  EXPECT_EQ(id_of(""), "resolved");
}

TEST_F(BinaryStoreTest, OnlyWhatIsThereCanBeMarked) {
  for (const std::string& name : {sha256("none"), std::string("../../etc"), std::string()}) {
    EXPECT_EQ(store_.mark_good(name).error().id(), "HWS-BR-030") << name;
    EXPECT_EQ(store_.quarantine(name, "", 1).error().id(), "HWS-BR-030") << name;
  }
  EXPECT_EQ(store_.folder().target(BinaryLink::kLastGood), "");
}

}  // namespace
}  // namespace hawser::proxy
