// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <thread>

#include "base/asio_loop.h"
#include "base/backoff.h"
#include "base/fake_loop.h"
#include "base/file.h"
#include "base/frame.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/unix_socket.h"

namespace hawser {
namespace {

using namespace std::chrono_literals;

class Folder {
 public:
  Folder() { std::filesystem::create_directories(path_); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / ("hawser-base-" + std::to_string(getpid()))).string();
};

TEST(Error, IsOneLineWithPlaceCauseFixAndId) {
  Error error(Code::kInvalidArgument, "HWS-X-001", "can't do it", "do this");
  error.at("a.yaml:1:2").because(Error(Code::kInternal, "", "it broke"));
  EXPECT_EQ(error.to_string(), "a.yaml:1:2: can't do it: it broke (fix: do this) [HWS-X-001]");
}

TEST(Error, TellsWhatIsWorthRetrying) {
  EXPECT_TRUE(errno_error(ECONNREFUSED, "X", "x").retryable());
  EXPECT_FALSE(errno_error(EACCES, "X", "x").retryable());
}

TEST(File, IsReplacedWholeWithItsMode) {
  Folder folder;
  const std::string path = folder / "state";
  ASSERT_TRUE(file::write_atomic(path, "old", 0600));
  ASSERT_TRUE(file::write_atomic(path, "new", 0640));
  EXPECT_EQ(*file::read_bounded(path, 100), "new");
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0640U);
  EXPECT_FALSE(file::exists(path + ".new"));
}

TEST(File, TooLargeIsRefused) {
  Folder folder;
  ASSERT_TRUE(file::write_atomic(folder / "big", std::string(1000, 'x'), 0600));
  EXPECT_EQ(file::read_bounded(folder / "big", 999).error().id(), "HWS-FS-003");
}

TEST(Frame, SurvivesAnyFragmentation) {
  const std::string bytes = frame::encode("one") + frame::encode("") + frame::encode(std::string(70000, 'z'));
  frame::Reader reader;
  std::vector<std::string> frames;
  std::string payload;
  for (char byte : bytes) {
    ASSERT_TRUE(reader.feed({&byte, 1}));
    while (reader.next(payload)) frames.push_back(payload);
  }
  ASSERT_EQ(frames.size(), 3U);
  EXPECT_EQ(frames[0], "one");
  EXPECT_EQ(frames[1], "");
  EXPECT_EQ(frames[2].size(), 70000U);
}

TEST(Frame, AnOversizedLengthIsRefusedBeforeItsBody) {
  frame::Reader reader(10);
  EXPECT_EQ(reader.feed(frame::encode(std::string(11, 'x')).substr(0, 4)).error().id(), "HWS-RPC-001");
}

TEST(UnixSocket, ASecondInstanceIsRefusedAndTheFirstKeepsThePath) {
  Folder folder;
  auto first = listen_unix("x", folder / "s.sock", 0600);
  ASSERT_TRUE(first);
  EXPECT_EQ(listen_unix("x", folder / "s.sock", 0600).error().id(), "HWS-RPC-004");
  EXPECT_TRUE(file::exists(folder / "s.sock"));
  unlink_unix(*first);
  EXPECT_FALSE(file::exists(folder / "s.sock"));
}

TEST(UnixSocket, AStaleFileIsReplaced) {
  Folder folder;
  { auto dead = listen_unix("x", folder / "s.sock", 0600); }
  EXPECT_TRUE(file::exists(folder / "s.sock"));
  EXPECT_TRUE(listen_unix("x", folder / "s.sock", 0600));
}

TEST(UnixSocket, KnowsThePeer) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  auto peer = peer_of(pair[0]);
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->uid, getuid());
  EXPECT_EQ(peer->pid, getpid());
  close(pair[0]);
  close(pair[1]);
}

TEST(Backoff, StaysWithinTheCapAndIsJittered) {
  Backoff backoff(100ms, 1000ms, 7);
  std::set<long> seen;
  for (int i = 0; i < 100; ++i) {
    const auto delay = backoff.next();
    EXPECT_LE(delay, std::min(1000ms, 100ms * (1 << std::min(i, 10))));
    seen.insert(delay.count());
  }
  EXPECT_GT(seen.size(), 50U);
}

TEST(AsioLoop, ACancelledTimerNeverFires) {
  AsioLoop loop;
  bool fired = false;
  auto cancelled = loop.after(1ms, [&] { fired = true; });
  auto end = loop.after(20ms, [&] { loop.stop(); });
  cancelled.reset();
  loop.run();
  EXPECT_FALSE(fired);
}

TEST(AsioLoop, TakesWorkFromOtherThreads) {
  AsioLoop loop;
  int count = 0;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) loop.post([&] { ++count; });
    loop.post([&] { loop.stop(); });
  });
  loop.run();
  other.join();
  EXPECT_EQ(count, 100);
}

TEST(ThreadWorker, RunsWorkInOrder) {
  std::vector<int> seen;
  AsioLoop loop;
  ThreadWorker worker;
  for (int i = 0; i < 10; ++i)
    worker.submit([&, i] {
      loop.post([&, i] {
        seen.push_back(i);
        if (i == 9) loop.stop();
      });
    });
  loop.run();
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(FakeLoop, FiresTimersInOrderOfTime) {
  FakeLoop loop;
  std::string order;
  auto b = loop.after(2s, [&] { order += 'b'; });
  auto a = loop.after(1s, [&] { order += 'a'; });
  loop.advance(3s);
  EXPECT_EQ(order, "ab");
}

TEST(Metrics, AreInPrometheusText) {
  Metrics metrics;
  metrics.add("hawser_things_total", "Things", {{"kind", "x"}});
  metrics.add("hawser_things_total", "Things", {{"kind", "x"}});
  metrics.set("hawser_level", "Level", {}, 3);
  const std::string text = metrics.text();
  EXPECT_NE(text.find("hawser_things_total{kind=\"x\"} 2"), std::string::npos) << text;
  EXPECT_NE(text.find("hawser_level 3"), std::string::npos);
}

}  // namespace
}  // namespace hawser
