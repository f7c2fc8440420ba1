// SPDX-License-Identifier: Apache-2.0
#include "certs/key_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "certs/token_file.h"
#include "certs/utc.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

namespace fs = std::filesystem;
using test::around;
using test::kSpiffe;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Loop::Wall kIssued = wall_of(1'700'000'000);

class KeyStoreTest : public ::testing::Test {
 protected:
  KeyStoreTest() : store(open()) {}

  std::optional<KeyStore> open(const Machine& here = {}) {
    auto opened = KeyStore::open(state.path(), here);
    EXPECT_TRUE(opened) << opened.error().to_string();
    return *opened;
  }
  void reopen(const Machine& here = {}) {
    store.reset();
    store = open(here);
  }
  IdentityPtr make() { return ca.identity(kSpiffe, around(kIssued)); }

  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(state.path())) out.push_back(entry.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }
  void spoil(const std::string& name, const std::string& content) const {
    std::ofstream(state.at(name), std::ios::trunc) << content;
  }
  mode_t mode(const std::string& path) const {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 0777U;
  }
  static std::vector<std::string> ids(const KeyStore::Loaded& loaded) {
    std::vector<std::string> out;
    for (const auto& note : loaded.notes) out.push_back(note.id());
    return out;
  }

  test::TestCa ca{"mesh"};
  test::TempFolder state;
  std::optional<KeyStore> store;
};

TEST_F(KeyStoreTest, IsEmptyAtFirstAndThenGivesBackWhatWasStored) {
  EXPECT_EQ(store->load().identity, nullptr);
  const auto identity = make();
  ASSERT_TRUE(store->store(*identity));
  reopen();
  const auto loaded = store->load();
  ASSERT_NE(loaded.identity, nullptr);
  EXPECT_TRUE(loaded.notes.empty());
  EXPECT_TRUE(loaded.identity->key_pem == identity->key_pem);
  EXPECT_EQ(loaded.identity->chain_pem, identity->chain_pem);
  EXPECT_EQ(loaded.identity->roots_pem, identity->roots_pem);
  EXPECT_EQ(loaded.identity->serial, identity->serial);
}

TEST_F(KeyStoreTest, KeepsTheGenerationBeforeAndNoneOlder) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(store->store(*make()));
  EXPECT_THAT(names(), ElementsAre("current", "gen-3", "gen-4"));
}

TEST_F(KeyStoreTest, IsReadableByItsOwnerAlone) {
  const mode_t before = ::umask(0);
  ASSERT_TRUE(store->store(*make()));
  ASSERT_TRUE(store->store_token("secret"));
  ::umask(before);
  EXPECT_EQ(mode(state.at("gen-1")), 0700U);
  for (const auto& entry : fs::directory_iterator(state.at("gen-1")))
    EXPECT_EQ(mode(entry.path()), 0600U) << entry.path();
  EXPECT_EQ(mode(state.at("token")), 0600U);
}

TEST_F(KeyStoreTest, RepairsLooserModesAndTellsOfThem) {
  ASSERT_TRUE(store->store(*make()));
  ::chmod(state.at("gen-1/key.pem").c_str(), 0644);
  ::chmod(state.path().c_str(), 0755);
  reopen();
  const auto loaded = store->load();
  EXPECT_NE(loaded.identity, nullptr);
  EXPECT_THAT(ids(loaded), ElementsAre("HWS-ID-003", "HWS-ID-003"));
  EXPECT_EQ(mode(state.at("gen-1/key.pem")), 0600U);
  EXPECT_EQ(mode(state.path()), 0700U);
}

TEST_F(KeyStoreTest, CrashBeforeTheLinkIsMovedLeavesTheOldOne) {
  const auto old = make();
  ASSERT_TRUE(store->store(*old));
  // As a store() that stopped after writing the files, and one that stopped between symlink and rename.
  fs::copy(state.at("gen-1"), state.at("gen-2"), fs::copy_options::recursive);
  spoil("gen-2/key.pem", "half");
  fs::create_symlink("gen-2", state.at("current.new"));
  reopen();
  auto loaded = store->load();
  ASSERT_NE(loaded.identity, nullptr);
  EXPECT_TRUE(loaded.notes.empty());
  EXPECT_EQ(loaded.identity->serial, old->serial);
  const auto next = make();
  ASSERT_TRUE(store->store(*next));
  EXPECT_EQ(store->load().identity->serial, next->serial);
  EXPECT_THAT(names(), ElementsAre("current", "gen-1", "gen-3"));
}

TEST_F(KeyStoreTest, CrashDuringTheFirstStoreLeavesNothing) {
  fs::create_directory(state.at("gen-1"));
  spoil("gen-1/key.pem", "half");
  const auto loaded = store->load();
  EXPECT_EQ(loaded.identity, nullptr);
  EXPECT_TRUE(loaded.notes.empty());
  ASSERT_TRUE(store->store(*make()));
  EXPECT_NE(store->load().identity, nullptr);
}

TEST_F(KeyStoreTest, DamageIsPutAsideAndTold) {
  ASSERT_TRUE(store->store(*make()));
  spoil("gen-1/key.pem", "garbage");
  const auto loaded = store->load();
  EXPECT_EQ(loaded.identity, nullptr);
  EXPECT_THAT(ids(loaded), ElementsAre("HWS-ID-004"));
  EXPECT_THAT(names(), ElementsAre("damaged-1"));
  EXPECT_EQ(store->load().identity, nullptr);
  EXPECT_TRUE(store->load().notes.empty());
}

TEST_F(KeyStoreTest, DamageFallsBackToTheGenerationBefore) {
  const auto old = make();
  ASSERT_TRUE(store->store(*old));
  ASSERT_TRUE(store->store(*make()));
  fs::remove(state.at("gen-2/meta.json"));
  const auto loaded = store->load();
  ASSERT_NE(loaded.identity, nullptr);
  EXPECT_EQ(loaded.identity->serial, old->serial);
  EXPECT_THAT(names(), ElementsAre("current", "damaged-1", "gen-1"));
  EXPECT_EQ(store->load().identity->serial, old->serial);
}

TEST_F(KeyStoreTest, AnyChangedByteIsDamage) {
  for (const char* name : {"key.pem", "cert-chain.pem", "roots.pem"}) {
    ASSERT_TRUE(store->store(*make()));
    const std::string file = fs::read_symlink(state.at("current")).string() + "/" + name;
    auto content = file::read_bounded(state.at(file), 1 << 20);
    ASSERT_TRUE(content);
    (*content)[content->size() / 2] ^= 1;
    spoil(file, *content);
    EXPECT_THAT(ids(store->load()), ::testing::Contains("HWS-ID-004")) << name;
  }
}

TEST_F(KeyStoreTest, KeepsOnlyAFewDamagedCopies) {
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(store->store(*make()));
    spoil(fs::read_symlink(state.at("current")).string() + "/roots.pem", "x");
    EXPECT_EQ(store->load().identity, nullptr);
  }
  EXPECT_THAT(names(), ElementsAre("damaged-4", "damaged-5", "damaged-6"));
}

TEST_F(KeyStoreTest, ASecondOwnerIsRefusedUntilTheFirstIsGone) {
  const auto second = KeyStore::open(state.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().id(), "HWS-ID-001");
  EXPECT_THAT(second.error().message(), HasSubstr("another hawserd uses this state folder"));
  store.reset();
  EXPECT_TRUE(KeyStore::open(state.path()));
}

TEST_F(KeyStoreTest, EraseLeavesAnEmptyFolder) {
  ASSERT_TRUE(store->store(*make()));
  spoil("gen-1/key.pem", "garbage");
  (void)store->load();
  ASSERT_TRUE(store->store(*make()));
  ASSERT_TRUE(store->store_token("secret"));
  ASSERT_TRUE(store->erase());
  EXPECT_TRUE(names().empty());
  EXPECT_EQ(store->load().identity, nullptr);
}

TEST_F(KeyStoreTest, AFailedStoreLeavesTheOldOne) {
  const auto old = make();
  ASSERT_TRUE(store->store(*old));
  // A file stands where the next generation's folder goes.
  spoil("gen-2", "in the way");
  const auto next = make();
  EXPECT_TRUE(store->store(*next));  // it takes another number
  EXPECT_EQ(store->load().identity->serial, next->serial);
  fs::remove_all(state.at("current.new"));
  fs::create_directories(state.at("current.new/held"));  // rename(2) of a folder over a link fails
  EXPECT_FALSE(store->store(*make()));
  EXPECT_EQ(store->load().identity->serial, next->serial);
}

TEST_F(KeyStoreTest, MissingParentIsNamed) {
  const auto opened = KeyStore::open(state.at("no/such"));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().id(), "HWS-ID-002");
}

// {"alg":"none"} . {"exp":1700000000} . x
constexpr char kJwt[] = "eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDAwMDB9.x";

TEST_F(KeyStoreTest, TheTokenIsReadAnewTrimmedAndItsEndIsKnown) {
  FileTokenSource source(store->token_path());
  EXPECT_EQ(source.read().error().id(), "HWS-ID-020");
  ASSERT_TRUE(store->store_token("first\n"));
  EXPECT_EQ(source.read()->text.reveal(), "first");
  EXPECT_FALSE(source.read()->expires);
  ASSERT_TRUE(store->store_token(std::string(" ") + kJwt + "\r\n"));
  const auto token = source.read();
  ASSERT_TRUE(token);
  EXPECT_EQ(token->text.reveal(), kJwt);
  EXPECT_EQ(token->expires, wall_of(1'700'000'000));
  EXPECT_TRUE(token->expired_at(kIssued));
  EXPECT_FALSE(token->expired_at(kIssued - std::chrono::seconds(1)));
  ASSERT_TRUE(store->store_token(" \n"));
  EXPECT_EQ(source.read().error().id(), "HWS-ID-020");
}

TEST_F(KeyStoreTest, ATokenThatOthersCanReadIsClosed) {
  ASSERT_TRUE(store->store_token("t"));
  ::chmod(store->token_path().c_str(), 0644);
  FileTokenSource source(store->token_path());
  EXPECT_TRUE(source.read());
  EXPECT_EQ(mode(store->token_path()), 0600U);
}

TEST(TokenExpiry, IsNoneForWhatIsNoJwt) {
  for (const char* text : {"", "a", "a.b", "a.b.c", "..", "a.!!.c", "a.e30.c", "a.eyJleHAiOiJ4In0.c"})
    EXPECT_FALSE(token_expiry(text)) << text;
}

TEST_F(KeyStoreTest, ACopyOfAnotherMachinesDiskDropsItsIdentityAndKeepsTheToken) {
  reopen({"original", ""});
  ASSERT_TRUE(store->store(*make()));
  ASSERT_TRUE(store->store(*make()));
  ASSERT_TRUE(store->store_token("token"));
  reopen({"copy", ""});
  const auto loaded = store->load();
  EXPECT_EQ(loaded.identity, nullptr);
  EXPECT_THAT(ids(loaded), ElementsAre("HWS-ID-013"));
  EXPECT_THAT(loaded.notes.front().message(), HasSubstr(kSpiffe));
  EXPECT_THAT(names(), ElementsAre("token"));
  // From now on it's the copy's own.
  const auto own = make();
  ASSERT_TRUE(store->store(*own));
  reopen({"copy", ""});
  EXPECT_EQ(store->load().identity->serial, own->serial);
  EXPECT_TRUE(store->load().notes.empty());
}

TEST_F(KeyStoreTest, WhatIsNotKnownOfAMachineSaysNothing) {
  ASSERT_TRUE(store->store(*make()));  // as an older version did
  reopen({"here", "i-1"});
  EXPECT_NE(store->load().identity, nullptr);
  ASSERT_TRUE(store->store(*make()));
  reopen({"", ""});
  EXPECT_NE(store->load().identity, nullptr);
  reopen({"here", ""});
  EXPECT_NE(store->load().identity, nullptr);
}

TEST_F(KeyStoreTest, AGenerationOfAnOlderVersionHasNoMachine) {
  ASSERT_TRUE(store->store(*make()));
  const std::string meta = state.at("gen-1/meta.json");
  auto text = file::read_bounded(meta, 1 << 16).value();
  const auto begin = text.find("  \"machine\"");
  ASSERT_NE(begin, std::string::npos);
  text.erase(begin, text.find("},", begin) + 3 - begin);
  spoil("gen-1/meta.json", text);
  reopen({"here", "i-1"});
  const auto loaded = store->load();
  EXPECT_NE(loaded.identity, nullptr);
  EXPECT_TRUE(loaded.notes.empty());
}

}  // namespace
}  // namespace hawser::certs
