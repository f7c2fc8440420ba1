// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "certs/key_store.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using test::around;
using test::kSpiffe;
using test::TestCa;
using ::testing::HasSubstr;

void write(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  ASSERT_TRUE(file::write_atomic(path, content, 0600));
}

void write_set(const std::string& folder, PemLayout layout, const Identity& identity) {
  const PemNames names = names_of(layout).front();
  write(folder + "/" + names.key, std::string(identity.key_pem.reveal()));
  write(folder + "/" + names.chain, identity.chain_pem);
  write(folder + "/" + names.roots, identity.roots_pem);
}

class FilesCaTest : public ::testing::Test {
 protected:
  FilesCaTest() {
    options.folder = folder.at("certs");
    options.expected.spiffe_id = kSpiffe;
    options.again = 10ms;
    options.settle = 20ms;
    options.patience = 10s;
  }

  FilesCa& under_test() {
    if (!client) {
      client = std::make_unique<FilesCa>(loop, worker, metrics, options);
      client->on_news([this] {
        ++news;
        loop.stop();
      });
    }
    return *client;
  }

  void run() {
    const auto limit = loop.after(20s, [this] {
      ADD_FAILURE() << "not within 20 s";
      loop.stop();
    });
    loop.run();
    loop.context().restart();
  }

  void begin() {
    answer.reset();
    under_test().sign({}, [&](Result<CaClient::Answer> result) {
      answer = std::move(result);
      loop.stop();
    });
  }

  Result<CaClient::Answer>& sign() {
    begin();
    while (!answer && !HasFailure()) run();  // news stop the loop as well
    if (!answer) answer = Error(Code::kInternal, "", "no answer");
    return *answer;
  }

  // Runs until the files give this one, whatever is told before.
  bool comes(const IdentityPtr& identity) {
    for (int i = 0; i < 20 && !HasFailure(); ++i) {
      if (const auto& got = sign(); got && got->chain_pem == identity->chain_pem) return true;
      run();
    }
    return false;
  }

  IdentityPtr make(const std::string& id = kSpiffe) {
    return ca.identity(id, around(std::chrono::system_clock::now()));
  }

  AsioLoop loop;
  ThreadWorker worker;
  Metrics metrics;
  test::TempFolder folder;
  TestCa ca{"files"}, other_ca{"other"};
  FilesCa::Options options;
  std::unique_ptr<FilesCa> client;
  std::optional<Result<CaClient::Answer>> answer;
  unsigned news = 0;
};

TEST_F(FilesCaTest, EveryLayoutIsFoundByItselfAndByName) {
  for (const auto layout :
       {PemLayout::kIstio, PemLayout::kSpiffe, PemLayout::kGke, PemLayout::kCertManager, PemLayout::kHawser}) {
    options.folder = folder.at("l" + std::to_string(static_cast<int>(layout)));
    const auto identity = make();
    write_set(options.folder, layout, *identity);
    for (const auto wanted : {PemLayout::kAuto, layout}) {
      options.layout = wanted;
      client.reset();
      const auto& got = sign();
      ASSERT_TRUE(got) << got.error().to_string();
      EXPECT_EQ(got->chain_pem, identity->chain_pem);
      EXPECT_EQ(got->roots_pem, identity->roots_pem);
      EXPECT_EQ(got->key.reveal(), identity->key_pem.reveal());
    }
  }
}

TEST_F(FilesCaTest, OurOwnStoreIsRead) {
  options.layout = PemLayout::kHawser;
  auto store = KeyStore::open(options.folder);
  ASSERT_TRUE(store);
  const auto identity = make();
  ASSERT_TRUE(store->store(*identity));
  EXPECT_TRUE(comes(identity));
  const auto renewed = make();
  ASSERT_TRUE(store->store(*renewed));
  EXPECT_TRUE(comes(renewed));
}

TEST_F(FilesCaTest, ASwapOfTheDataLinkIsNewsAndGivesTheNewSet) {
  options.layout = PemLayout::kCertManager;
  const auto one = make(), two = make();
  write_set(options.folder + "/..1", options.layout, *one);
  write_set(options.folder + "/..2", options.layout, *two);
  ASSERT_TRUE(file::link_atomic("..1", options.folder + "/..data"));
  for (const char* name : {"tls.key", "tls.crt", "ca.crt"})
    ASSERT_TRUE(file::link_atomic(std::string("..data/") + name, options.folder + "/" + name));
  EXPECT_TRUE(comes(one));
  EXPECT_EQ(news, 0U);
  ASSERT_TRUE(file::link_atomic("..2", options.folder + "/..data"));
  run();
  EXPECT_EQ(news, 1U);
  EXPECT_TRUE(comes(two));
}

TEST_F(FilesCaTest, AFolderThatIsALinkToATimeStampedOneIsFollowed) {
  const auto one = make(), two = make();
  write_set(folder.at("t1"), PemLayout::kGke, *one);
  write_set(folder.at("t2"), PemLayout::kGke, *two);
  ASSERT_TRUE(file::link_atomic(folder.at("t1"), options.folder));
  EXPECT_TRUE(comes(one));
  ASSERT_TRUE(file::link_atomic(folder.at("t2"), options.folder));
  run();
  EXPECT_TRUE(comes(two));
}

TEST_F(FilesCaTest, FilesThatAreReplacedOneByOneAreNeverTakenHalf) {
  const auto one = make(), two = make();
  options.layout = PemLayout::kIstio;
  write_set(options.folder, options.layout, *one);
  ASSERT_TRUE(comes(one));
  write(options.folder + "/key.pem", std::string(two->key_pem.reveal()));
  run();  // news
  begin();
  const auto later = loop.after(200ms, [&] {
    EXPECT_FALSE(answer) << "half of a set was taken or given up";
    write(options.folder + "/cert-chain.pem", two->chain_pem);
  });
  while (!answer && !HasFailure()) run();
  ASSERT_TRUE(*answer) << answer->error().to_string();
  EXPECT_EQ((*answer)->chain_pem, two->chain_pem);
}

TEST_F(FilesCaTest, ASetThatNeverFitsIsGivenUpAndTheFileIsNamed) {
  options.patience = 50ms;
  write_set(options.folder, PemLayout::kIstio, *make());
  write(options.folder + "/key.pem", std::string(make()->key_pem.reveal()));
  {
    const auto& got = sign();
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().id(), "HWS-CA-042");
    EXPECT_THAT(got.error().message(), HasSubstr("key.pem isn't the key of"));
  }
  write_set(options.folder, PemLayout::kIstio, *make());
  write(options.folder + "/root-cert.pem", other_ca.root_pem());
  EXPECT_THAT(sign().error().message(), HasSubstr("doesn't lead to"));
  std::filesystem::remove(options.folder + "/cert-chain.pem");
  EXPECT_EQ(sign().error().id(), "HWS-CA-041");
  EXPECT_THAT(answer->error().message(), HasSubstr("cert-chain.pem"));
}

TEST_F(FilesCaTest, WhatIsNotThereIsToldAtOnceAndTakenWhenItComes) {
  EXPECT_EQ(sign().error().id(), "HWS-CA-040");
  EXPECT_THAT(answer->error().message(), HasSubstr("there's no folder"));
  const auto identity = make();
  write_set(options.folder, PemLayout::kSpiffe, *identity);
  run();
  EXPECT_GE(news, 1U);
  EXPECT_TRUE(comes(identity));
}

TEST_F(FilesCaTest, SomebodyElsesAndEndedOnesAreRefused) {
  write_set(options.folder, PemLayout::kIstio, *make("spiffe://cluster.local/ns/vms/sa/other"));
  EXPECT_EQ(sign().error().id(), "HWS-CA-043");
  EXPECT_THAT(answer->error().hint(), HasSubstr("spiffe://cluster.local/ns/vms/sa/other"));
  const auto now = std::chrono::system_clock::now();
  write_set(options.folder, PemLayout::kIstio, *ca.identity(kSpiffe, {now - 2h, now - 1h}));
  EXPECT_EQ(sign().error().id(), "HWS-CA-044");
}

TEST_F(FilesCaTest, ReadWhileItIsSwappedAgainAndAgainTheSetAlwaysFits) {
  options.layout = PemLayout::kIstio;
  std::vector<IdentityPtr> sets;
  for (int i = 0; i < 4; ++i) {
    sets.push_back(make());
    write_set(folder.at("s" + std::to_string(i)), options.layout, *sets.back());
  }
  ASSERT_TRUE(file::link_atomic(folder.at("s0"), options.folder));
  std::atomic<bool> over = false;
  std::thread swapper([&] {
    for (unsigned i = 0; !over; ++i)
      EXPECT_TRUE(file::link_atomic(folder.at("s" + std::to_string(i % 4)), options.folder));
  });
  unsigned taken = 0, refused = 0;
  const auto end = std::chrono::steady_clock::now() + 1s;
  while (std::chrono::steady_clock::now() < end) {
    const auto got = load_pem_set(options.folder, options.layout);
    (got ? taken : refused) += 1;
    if (!got) {
      EXPECT_TRUE(got.error().retryable()) << got.error().to_string();
      continue;
    }
    EXPECT_TRUE(std::any_of(sets.begin(), sets.end(), [&](const IdentityPtr& set) {
      return set->key_pem == (*got)->key_pem && set->chain_pem == (*got)->chain_pem;
    }));
  }
  over = true;
  swapper.join();
  EXPECT_GT(taken, 0U);
}

TEST_F(FilesCaTest, NothingIsCalledAfterCancelOrDestruction) {
  write_set(options.folder, PemLayout::kIstio, *make());
  for (const bool destroy : {false, true}) {
    under_test().sign({}, [](const Result<CaClient::Answer>&) { ADD_FAILURE(); });
    if (destroy)
      client.reset();
    else
      client->cancel();
    write_set(options.folder, PemLayout::kIstio, *make());
    loop.context().run_for(100ms);
    loop.context().restart();
  }
  EXPECT_EQ(news, 0U);
}

}  // namespace
}  // namespace hawser::certs
