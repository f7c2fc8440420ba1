// SPDX-License-Identifier: Apache-2.0
#include "base/command.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

namespace hawser {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Command shell(const std::string& script, milliseconds timeout = seconds(10)) {
  Command command;
  command.argv = {"/bin/sh", "-c", script};
  command.timeout = timeout;
  return command;
}

// A folder of its own, in which programs leave their pids.
class CommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/command_test.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  pid_t pid_in(const std::string& name) const {
    pid_t pid = 0;
    std::ifstream(path(name)) >> pid;
    return pid;
  }
  // SIGKILL is asynchronous; a process that its parent has left is reaped by somebody else.
  bool goes(pid_t pid) const {
    for (int i = 0; i < 500; ++i) {
      std::string stat;
      std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), stat);
      if (stat.empty() || stat.find(") Z ") != std::string::npos) return true;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
  }

  CommandRun run_;
  std::string folder_;
};

TEST_F(CommandTest, GivesWhatItWritesToItsStandardOutput) {
  auto command = shell("cat; echo $WHO");
  command.input = "asked\n";
  command.env["WHO"] = "told";
  auto output = run_.run(command);
  ASSERT_TRUE(output) << output.error().to_string();
  EXPECT_EQ(*output, "asked\ntold\n");
}

TEST_F(CommandTest, LooksAProgramUpInThePath) {
  Command command;
  command.argv = {"true"};
  EXPECT_TRUE(run_.run(command));
}

TEST_F(CommandTest, HandsOnNoMoreOfTheEnvironmentThanIsNeeded) {
  ::setenv("COMMAND_TEST_SECRET", "x", 1);
  auto output = run_.run(shell("env"));
  ::unsetenv("COMMAND_TEST_SECRET");
  ASSERT_TRUE(output);
  EXPECT_EQ(output->find("COMMAND_TEST_SECRET"), std::string::npos);
  EXPECT_NE(output->find("PATH="), std::string::npos);
}

TEST_F(CommandTest, HandsOnNoDescriptor) {
  const int leaked = ::dup(0);  // not close-on-exec
  auto output = run_.run(shell("ls /proc/self/fd | wc -l"));
  ::close(leaked);
  ASSERT_TRUE(output);
  EXPECT_EQ(std::stoi(*output), 4);  // three, and the folder that ls reads
}

TEST_F(CommandTest, TakesAnAnswerLargerThanAPipe) {
  auto output = run_.run(shell("head -c 1000000 /dev/zero"));
  ASSERT_TRUE(output) << output.error().to_string();
  EXPECT_EQ(output->size(), 1'000'000U);
}

TEST_F(CommandTest, DoesntMindAProgramThatLeavesItsInputUnread) {
  auto command = shell("exec <&-; echo fine");
  command.input = std::string(60'000, 'x');
  auto output = run_.run(command);
  ASSERT_TRUE(output) << output.error().to_string();
  EXPECT_EQ(*output, "fine\n");
}

TEST_F(CommandTest, RefusesAnInputThatDoesntFit) {
  auto command = shell("cat");
  command.input = std::string(1U << 20U, 'x');
  auto output = run_.run(command);
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-001");
}

TEST_F(CommandTest, SaysThatAProgramIsMissing) {
  Command command;
  command.argv = {"/nowhere/at-all"};
  auto output = run_.run(command);
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-001");
  EXPECT_NE(output.error().message().find("/nowhere/at-all: No such file"), std::string::npos);
}

TEST_F(CommandTest, QuotesTheLastLineOfItsComplaint) {
  auto output = run_.run(shell("echo first >&2; printf 'no \\033[1mlease\\n\\n' >&2; echo answer; exit 3"));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-004");
  EXPECT_EQ(output.error().message(), "/bin/sh exited with 3: no ?[1mlease");
}

TEST_F(CommandTest, QuotesNothingThatMayBeASecret) {
  const std::string token(100, 'k');
  auto output = run_.run(shell("echo 'token " + token + " is bad' >&2; exit 1"));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().message(), "/bin/sh exited with 1: token (…) is bad");
}

TEST_F(CommandTest, BoundsWhatItQuotes) {
  auto output = run_.run(shell("i=0; while [ $i -lt 20000 ]; do echo -n 'word ' >&2; i=$((i+1)); done; exit 1"));
  ASSERT_FALSE(output);
  EXPECT_LT(output.error().message().size(), 300U);
}

TEST_F(CommandTest, SaysWhichSignalEndedIt) {
  auto output = run_.run(shell("kill -TERM $$"));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-004");
  EXPECT_NE(output.error().message().find("signal 15"), std::string::npos);
}

TEST_F(CommandTest, EndsWhatTakesTooLongWithAllItStarted) {
  const auto begin = std::chrono::steady_clock::now();
  auto output = run_.run(shell(
      "trap '' TERM; sleep 1000 & echo $! >" + path("child") + "; echo $$ >" + path("main") + "; echo asking >&2; wait",
      milliseconds(2000)));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-002");
  EXPECT_NE(output.error().message().find("it said: asking"), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
  EXPECT_EQ(::kill(pid_in("main"), 0), -1);  // reaped
  EXPECT_TRUE(goes(pid_in("child")));
}

TEST_F(CommandTest, DoesntWaitForAChildThatKeepsTheOutputOpen) {
  const auto begin = std::chrono::steady_clock::now();
  auto output = run_.run(shell("sleep 1000 & echo $! >" + path("child") + "; echo done"));
  ASSERT_TRUE(output) << output.error().to_string();
  EXPECT_EQ(*output, "done\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(5));
  EXPECT_TRUE(goes(pid_in("child")));
}

TEST_F(CommandTest, EndsWhatSaysTooMuch) {
  auto command = shell("echo $$ >" + path("main") + "; exec cat /dev/zero");
  command.max_output = 100'000;
  auto output = run_.run(command);
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-003");
  EXPECT_EQ(::kill(pid_in("main"), 0), -1);
}

TEST_F(CommandTest, IsntHeldUpByAnEndlessComplaint) {
  auto output = run_.run(shell("exec cat /dev/zero >&2", milliseconds(300)));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-002");
}

TEST_F(CommandTest, IsCancelledFromAnotherThread) {
  std::thread other([&] {
    for (int i = 0; i < 2000 && pid_in("main") == 0; ++i) std::this_thread::sleep_for(milliseconds(5));
    run_.cancel();
  });
  auto output = run_.run(shell("echo $$ >" + path("main") + "; exec sleep 1000", seconds(60)));
  other.join();
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-005");
  EXPECT_EQ(::kill(pid_in("main"), 0), -1);
}

TEST_F(CommandTest, StaysCancelled) {
  run_.cancel();
  auto output = run_.run(shell("sleep 1000", seconds(60)));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().id(), "HWS-EX-005");
}

}  // namespace
}  // namespace hawser
