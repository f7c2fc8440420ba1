// SPDX-License-Identifier: Apache-2.0
#include "proxy/process_watch.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <csignal>

#include "admin_stub.h"
#include "proxy/listening_sockets.h"

namespace hawser::proxy {
namespace {

pid_t sleeper() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execlp("sleep", "sleep", "60", nullptr);
    ::_exit(127);
  }
  return pid;
}

TEST(PidfdWatcher, TellsTheEndOfAProcessWithinATenthOfASecond) {
  AsioLoop loop;
  PidfdWatcher watcher(loop);
  const pid_t pid = sleeper();
  bool ended = false;
  auto watch = watcher.watch(pid, [&] { ended = true; });
  loop.context().run_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(ended);
  const auto began = std::chrono::steady_clock::now();
  ::kill(pid, SIGKILL);
  EXPECT_TRUE(run_until(loop, [&] { return ended; }));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
  ::waitpid(pid, nullptr, 0);
}

TEST(PidfdWatcher, AProcessThatIsGoneAlreadyIsToldLater) {
  AsioLoop loop;
  PidfdWatcher watcher(loop);
  const pid_t pid = sleeper();
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  bool ended = false;
  auto watch = watcher.watch(pid, [&] { ended = true; });
  EXPECT_FALSE(ended);
  EXPECT_TRUE(run_until(loop, [&] { return ended; }));
}

TEST(PidfdWatcher, ADestroyedWatchTellsNothing) {
  AsioLoop loop;
  PidfdWatcher watcher(loop);
  const pid_t pid = sleeper();
  bool ended = false;
  watcher.watch(pid, [&] { ended = true; }).reset();
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  loop.context().run_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(ended);
}

TEST(ListeningSockets, ShowASocketOnceItListensAndNoLonger) {
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor acceptor(context, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const ListeningEndpoint ours{"127.0.0.1", acceptor.local_endpoint().port()};
  auto seen = observe_listening();
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(std::count(seen->begin(), seen->end(), ours), 1);
  acceptor.close();
  seen = observe_listening();
  EXPECT_EQ(std::count(seen->begin(), seen->end(), ours), 0);
}

}  // namespace
}  // namespace hawser::proxy
