// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/direct_launcher.h"

#include <gtest/gtest.h>

#include "../broker/loop_runner.h"
#include "../broker/temporary_folder.h"
#include "base/file.h"
#include "proxy/generation_record.h"

namespace hawser::proxy {
namespace {

TEST(DirectLauncher, ASuccessorOfTheSameNameKeepsItsNewBootstrap) {
  TemporaryFolder folder;
  GenerationRecord record;
  record.spec.name = "f1e0";
  record.spec.bootstrap = folder.write("f1e0.bootstrap", "{}");
  record.ended = true;
  ASSERT_TRUE(save_record(folder / "f1e0.json", record));
  AsioLoop loop;
  DirectLauncher::Options options;
  options.run_folder = folder.path();
  options.holder = "/bin/true";  // says nothing, so the start fails; the bootstrap must have been there until then
  DirectLauncher launcher(loop, options);
  ASSERT_TRUE(launcher.adopt());
  run_until_called(loop, [&](const auto& called) {
    launcher.start(record.spec, [called](const Result<GenerationState>& state) {
      EXPECT_FALSE(state);
      called();
    });
  });
  EXPECT_TRUE(file::exists(record.spec.bootstrap));
}

TEST(DirectLauncher, ValidatesByRunningTheProgram) {
  TemporaryFolder folder;
  AsioLoop loop;
  DirectLauncher::Options options;
  options.run_folder = folder.path();
  DirectLauncher launcher(loop, options);
  CheckSpec check;
  check.binary = "/bin/sh";
  check.argv = {"/bin/sh", "-c", "echo out; echo err >&2; exit 3"};
  check.errors_too = true;
  run_until_called(loop, [&](const auto& called) {
    launcher.validate(check, [called](const Result<CheckResult>& result) {
      ASSERT_TRUE(result);
      EXPECT_EQ(result->exit_code, 3);
      EXPECT_EQ(result->output, "out\nerr\n");
      called();
    });
  });
}

}  // namespace
}  // namespace hawser::proxy
