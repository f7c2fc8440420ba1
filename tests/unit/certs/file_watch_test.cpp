// SPDX-License-Identifier: Apache-2.0
#include "certs/file_watch.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "certs/path_trail.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using test::TempFolder;

// Looking again is out of the way, so that only what inotify tells counts.
constexpr FileWatch::Times kQuick{20ms, 1h, 1h};

void write(const std::string& path, const std::string& content) {
  std::ofstream(path) << content;
}

class FileWatchTest : public ::testing::Test {
 protected:
  std::unique_ptr<FileWatch> watch(std::vector<std::string> paths, FileWatch::Times times = kQuick) {
    return std::make_unique<FileWatch>(
        loop, std::move(paths), [this] { ++told; }, times);
  }

  // Runs until it is told, for 10 s at most.
  bool is_told() {
    const unsigned before = told;
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (told == before && std::chrono::steady_clock::now() < end) loop.context().run_one_until(end);
    return told > before;
  }

  // What has nothing to do with it goes first, and what has is told once: so the first told nothing.
  bool only_second_is_told(const std::function<void()>& first, const std::function<void()>& second) {
    const unsigned before = told;
    first();
    loop.context().run_for(200ms);
    const bool quiet = told == before;
    second();
    return is_told() && quiet;
  }

  AsioLoop loop;
  TempFolder folder;
  unsigned told = 0;
};

TEST_F(FileWatchTest, AFileThatIsWrittenOrRenamedOverIsTold) {
  const std::string path = folder.at("key.pem");
  write(path, "1");
  const auto under_test = watch({path});
  write(path, "2");
  EXPECT_TRUE(is_told());
  ASSERT_TRUE(file::write_atomic(path, "3", 0600));
  EXPECT_TRUE(is_told());
  std::filesystem::remove(path);
  EXPECT_TRUE(is_told());
  write(path, "4");
  EXPECT_TRUE(is_told());
}

TEST_F(FileWatchTest, OtherFilesInTheFolderAreNotTold) {
  const std::string path = folder.at("key.pem");
  write(path, "1");
  const auto under_test = watch({path});
  EXPECT_TRUE(only_second_is_told([&] { write(folder.at("other"), "1"); }, [&] { write(path, "2"); }));
}

TEST_F(FileWatchTest, AFolderStandsForAllThatIsInIt) {
  const auto under_test = watch({folder.path()});
  write(folder.at("anything"), "1");
  EXPECT_TRUE(is_told());
}

TEST_F(FileWatchTest, KubernetesSwapOfTheDataLinkIsTold) {
  std::filesystem::create_directories(folder.at("..1"));
  std::filesystem::create_directories(folder.at("..2"));
  write(folder.at("..1/tls.key"), "1");
  write(folder.at("..2/tls.key"), "2");
  ASSERT_TRUE(file::link_atomic("..1", folder.at("..data")));
  ASSERT_TRUE(file::link_atomic("..data/tls.key", folder.at("tls.key")));
  const auto under_test = watch({folder.at("tls.key")});
  ASSERT_TRUE(file::link_atomic("..2", folder.at("..data")));
  EXPECT_TRUE(is_told());
  // What the link leads to now is watched, what it led to isn't any more.
  EXPECT_TRUE(only_second_is_told([&] { write(folder.at("..1/tls.key"), "1b"); },
                                  [&] { write(folder.at("..2/tls.key"), "2b"); }));
}

TEST_F(FileWatchTest, AFolderBehindALinkElsewhereIsTold) {
  TempFolder elsewhere;
  std::filesystem::create_directories(elsewhere.at("2026-11-29"));
  write(elsewhere.at("2026-11-29/a.pem"), "1");
  ASSERT_TRUE(file::link_atomic(elsewhere.at("2026-11-29"), folder.at("credentials")));
  const auto under_test = watch({folder.at("credentials/a.pem")});
  write(elsewhere.at("2026-11-29/a.pem"), "2");
  EXPECT_TRUE(is_told());
  std::filesystem::create_directories(elsewhere.at("2026-11-30"));
  ASSERT_TRUE(file::link_atomic(elsewhere.at("2026-11-30"), folder.at("credentials")));
  EXPECT_TRUE(is_told());
}

TEST_F(FileWatchTest, APathWhoseParentsComeLaterIsTold) {
  const auto under_test = watch({folder.at("a/b/c.pem")});
  std::filesystem::create_directories(folder.at("a/b"));
  EXPECT_TRUE(is_told());
  write(folder.at("a/b/c.pem"), "1");
  EXPECT_TRUE(is_told());
  std::filesystem::remove_all(folder.at("a"));
  EXPECT_TRUE(is_told());
  std::filesystem::create_directories(folder.at("a/b"));
  write(folder.at("a/b/c.pem"), "2");
  EXPECT_TRUE(is_told());
}

TEST_F(FileWatchTest, AWriterWhoNeverRestsIsToldAllTheSame) {
  const std::string path = folder.at("log");
  const auto under_test = watch({path});
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (told == 0 && std::chrono::steady_clock::now() < end) {
    write(path, "x");
    loop.context().run_one_for(5ms);
  }
  EXPECT_EQ(told, 1U);
}

TEST_F(FileWatchTest, WhatInotifyDoesNotTellIsFoundByLooking) {
  const std::string path = folder.at("key.pem");
  write(path, "1");
  ASSERT_EQ(::symlink("key.pem", folder.at("link").c_str()), 0);
  const auto under_test = watch({folder.at("link")}, {20ms, 50ms, 50ms});
  loop.context().run_for(200ms);
  EXPECT_EQ(told, 0U);
  // An open file that is written to, and never closed.
  std::ofstream out(path, std::ios::app);
  out << "2" << std::flush;
  EXPECT_TRUE(is_told());
}

TEST_F(FileWatchTest, LinksThatLeadInACircleEnd) {
  ASSERT_EQ(::symlink("b", folder.at("a").c_str()), 0);
  ASSERT_EQ(::symlink("a", folder.at("b").c_str()), 0);
  const auto under_test = watch({folder.at("a")});
  std::filesystem::remove(folder.at("b"));
  write(folder.at("b"), "1");
  EXPECT_TRUE(is_told());
}

TEST_F(FileWatchTest, OtherPathsCanBeSet) {
  const auto under_test = watch({folder.at("a")});
  under_test->set_paths({folder.at("b")});
  EXPECT_TRUE(only_second_is_told([&] { write(folder.at("a"), "1"); }, [&] { write(folder.at("b"), "1"); }));
}

TEST_F(FileWatchTest, ItMayBeDestroyedFromWithinItsCall) {
  std::unique_ptr<FileWatch> under_test;
  under_test = std::make_unique<FileWatch>(
      loop, std::vector{folder.at("a")},
      [&] {
        ++told;
        under_test.reset();
      },
      kQuick);
  write(folder.at("a"), "1");
  EXPECT_TRUE(is_told());
  write(folder.at("a"), "2");
  loop.context().run_for(100ms);
  EXPECT_EQ(told, 1U);
}

TEST(PathTrail, FollowsLinksAsTheKernelDoes) {
  TempFolder folder;
  std::filesystem::create_directories(folder.at("x/y"));
  ASSERT_EQ(::symlink("x/y/..", folder.at("l").c_str()), 0);
  const auto nothing = [](const std::string&, const std::string&) {};
  EXPECT_EQ(follow(folder.at("l/./y"), nothing).end, std::filesystem::canonical(folder.at("x/y")));
  EXPECT_EQ(follow(folder.at("l/none/more"), nothing).end, folder.at("x/none/more"));
}

}  // namespace
}  // namespace hawser::certs
