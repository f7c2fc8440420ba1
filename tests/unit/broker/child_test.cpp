// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/child.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "loop_runner.h"
#include "temporary_folder.h"

namespace hawser::proxy {
namespace {

Result<ChildResult> run(const std::string& script, const std::function<void(ChildSpec&)>& change = {}) {
  AsioLoop loop;
  ChildSpec spec;
  spec.binary = "/bin/sh";
  spec.args = {"-c", script};
  if (change) change(spec);
  std::optional<Result<ChildResult>> out;
  run_until_called(loop, [&](const std::function<void()>& done) {
    run_child(loop, spec, [&out, done](Result<ChildResult> result) {
      out = std::move(result);
      done();
    });
  });
  return out ? *out : Result<ChildResult>(Error(Code::kUnknown, "none", "no result"));
}

TEST(Child, OutputAndStatusComeBack) {
  auto result = run("echo hello; exit 3");
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(result->output, "hello\n");
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(run("kill -9 $$")->exit_code, 9);
}

TEST(Child, AProgramThatEndsAtOnceIsSeenToEnd) {
  for (int round = 0; round < 20; ++round) ASSERT_TRUE(run("exit 0"));
}

TEST(Child, StandardErrorIsCollectedWhenAskedFor) {
  EXPECT_EQ(run("echo oops >&2", [](ChildSpec& spec) { spec.collect_stderr = true; })->output, "oops\n");
}

TEST(Child, OnlyTheEndOfALongOutputIsKept) {
  auto result =
      run("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done", [](ChildSpec& spec) { spec.keep = 100; });
  ASSERT_TRUE(result);
  EXPECT_EQ(result->output.size(), 100U);
  EXPECT_NE(result->output.find("line 1999\n"), std::string::npos);
}

TEST(Child, OneThatTakesTooLongIsKilled) {
  auto result = run("exec sleep 30", [](ChildSpec& spec) { spec.timeout = std::chrono::milliseconds(100); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().id(), "HWS-BR-026");
}

TEST(Child, OneThatWantsTooMuchMemoryGetsNone) {
  const std::string hungry = "x=$(head -c 64000000 /dev/zero | tr '\\0' x) && echo had it";
  EXPECT_EQ(run(hungry, [](ChildSpec& spec) { spec.env = {"PATH=/usr/bin:/bin"}; })->output, "had it\n");
  const auto refused = run(hungry, [](ChildSpec& spec) {
    spec.env = {"PATH=/usr/bin:/bin"};
    spec.memory = 32U << 20U;
  });
  ASSERT_TRUE(refused);
  EXPECT_NE(refused->exit_code, 0);
  EXPECT_EQ(refused->output, "");
}

constexpr uid_t kNobody = 65534;

// Of a process whose parent may not have waited for it yet.
bool lives(const std::string& pid) {
  std::ifstream stat("/proc/" + pid + "/stat");
  std::string number;
  std::string name;
  std::string state;
  return stat >> number >> name >> state && state != "Z" && state != "X";
}

bool ends(const std::string& pid) {
  const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (lives(pid) && std::chrono::steady_clock::now() < late)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return !lives(pid);
}

TEST(Child, WhatALateOneStartedIsKilledWithIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can run it as another user";
  TemporaryFolder folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0777), 0);
  const std::string file = folder.path() + "/pids";
  auto result = run("sleep 60 & echo $$ $! > " + file + "; wait", [](ChildSpec& spec) {
    spec.uid = spec.gid = kNobody;
    spec.env = {"PATH=/usr/bin:/bin"};
    spec.timeout = std::chrono::milliseconds(2000);
  });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().id(), "HWS-BR-026");
  std::string shell;
  std::string child;
  ASSERT_TRUE(std::ifstream(file) >> shell >> child);
  EXPECT_TRUE(ends(shell));
  EXPECT_TRUE(ends(child));
}

TEST(Child, WhatOneLeavesBehindIsKilledAndNotWaitedFor) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can run it as another user";
  auto result = run("sleep 60 & echo $!; exit 3", [](ChildSpec& spec) {
    spec.uid = spec.gid = kNobody;
    spec.env = {"PATH=/usr/bin:/bin"};
  });
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_TRUE(ends(result->output.substr(0, result->output.find('\n'))));
}

TEST(Child, AMissingProgramIsAnError) {
  auto result = run("", [](ChildSpec& spec) { spec.binary = "/nonexistent/program"; });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().id(), "HWS-BR-025");
}

TEST(Child, ItGetsOnlyTheGivenEnvironmentAndNoDescriptor) {
  auto result = run("echo $A$HOME; ls /proc/self/fd | wc -l", [](ChildSpec& spec) {
    spec.env = {"A=1", "PATH=/usr/bin:/bin"};
  });
  ASSERT_TRUE(result);
  EXPECT_EQ(result->output, "1\n4\n");  // the three streams, and the folder that ls reads
}

}  // namespace
}  // namespace hawser::proxy
