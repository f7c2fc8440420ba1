// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/child.h"

#include <gtest/gtest.h>

#include "loop_runner.h"

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
