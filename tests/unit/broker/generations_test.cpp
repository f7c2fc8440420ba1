// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/generations.h"

#include <gtest/gtest.h>
#include <sha2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"
#include "temporary_folder.h"

namespace hawser::broker {
namespace {

// Remembers what it was asked to start.
class FakeLauncher final : public proxy::Launcher {
 public:
  Status adopt() override { return {}; }
  void start(proxy::GenerationSpec spec, Started done) override {
    specs.push_back(spec);
    if (refuse) return done(*refuse);
    states.push_back({spec.name, spec.binary_sha256, 77, true, -1, 0});
    done(states.back());
  }
  Status signal(const std::string& name, int number) override {
    signals.emplace_back(name, number);
    return {};
  }
  void reap(const std::string&, std::chrono::milliseconds wait, Reaped done) override {
    waited = wait;
    done(proxy::GenerationState{});
  }
  std::vector<proxy::GenerationState> list() const override { return states; }
  void validate(proxy::CheckSpec spec, Checked done) override {
    checks.push_back(spec);
    if (spec.argv.back() == "--hot-restart-version") return done(proxy::CheckResult{0, hot_restart_version});
    if (spec.argv.size() > 1 && spec.argv[1] == "--clear-mark") return done(repaired);
    const bool version = spec.argv.back() == "--version";
    done(proxy::CheckResult{version ? 0 : 1, version ? "envoy  version: c0ffee/1.40.0/Clean/RELEASE/SSL\n" : verdict});
  }

  std::string hot_restart_version = "11.104\n";
  Result<proxy::CheckResult> repaired = proxy::CheckResult{0, ""};
  std::string verdict = "bad\n";
  std::vector<proxy::CheckSpec> checks;
  std::vector<proxy::GenerationSpec> specs;
  std::vector<proxy::GenerationState> states;
  std::vector<std::pair<std::string, int>> signals;
  std::chrono::milliseconds waited{};
  std::optional<Error> refuse;
};

class GenerationsTest : public testing::Test {
 protected:
  GenerationsTest() {
    char hex[SHA256_DIGEST_STRING_LENGTH];
    digest_ = ::SHA256Data(reinterpret_cast<const std::uint8_t*>("x"), 1, hex);
    ::mkdir((folder_ / digest_).c_str(), 0755);
    binary_ = folder_.write(digest_ + "/envoy", "x");
    ::chmod(binary_.c_str(), 0755);
    EXPECT_EQ(::symlink(digest_.c_str(), (folder_ / "current").c_str()), 0);
    options_.boot_folder = boot_.path();
    options_.good_folder = good_.path();
    options_.proxy_uid = 882;
    options_.proxy_gid = 883;
  }

  std::string start(Generations& generations, const Generations::Wanted& wanted) {
    std::string out = "no answer";
    generations.start(wanted,
                      [&out](const Result<proxy::GenerationState>& state) { out = state ? "ok" : state.error().id(); });
    return out;
  }

  TemporaryFolder folder_;
  TemporaryFolder boot_;
  TemporaryFolder good_;
  std::string digest_;
  std::string binary_;
  AsioLoop loop_;
  FakeLauncher launcher_;
  proxy::BinaryStore store_{folder_.path(), ::geteuid()};
  Generations::Options options_;
};

TEST_F(GenerationsTest, TheBrokerMakesTheCommandLineAndTheBootstrap) {
  Generations generations(loop_, launcher_, store_, options_);
  ASSERT_EQ(start(generations, {"f1e0", "{}", "", {"--concurrency", "2"}}), "ok");
  const auto& spec = launcher_.specs.at(0);
  EXPECT_EQ(spec.binary, binary_);
  EXPECT_EQ(spec.argv.at(2), boot_ / "f1e0.json");
  EXPECT_EQ(spec.uid, 882U);
  EXPECT_EQ(spec.gid, 883U);
  EXPECT_EQ(spec.leftovers,
            (std::vector<std::string>{"/run/hawser/proxy/f1e0.admin.sock", "/run/hawser/proxy/f1e0.worker.sock"}));
  EXPECT_EQ(spec.family_leftovers, std::vector<std::string>{"/dev/shm/envoy_shared_memory_41010"});
  struct stat info {};
  ASSERT_EQ(::stat((boot_ / "f1e0.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0640U);
  EXPECT_EQ(file::read_bounded(boot_ / "f1e0.json", 10).value(), "{}");
}

TEST_F(GenerationsTest, SandboxAndLimitAreTheBrokersOwnAlsoOfAValidation) {
  options_.permits.lua = true;
  options_.memory_max = 3ULL << 30U;
  Generations generations(loop_, launcher_, store_, options_);
  ASSERT_EQ(start(generations, {"f1e0", "{}", "", {}}), "ok");
  EXPECT_EQ(launcher_.specs.at(0).permits, options_.permits);
  EXPECT_EQ(launcher_.specs.at(0).memory_max, options_.memory_max);
  generations.validate({"f2e0", "{}", "", {}}, [](const auto&) {});
  EXPECT_EQ(launcher_.checks.back().permits, options_.permits);
}

TEST_F(GenerationsTest, TheBootstrapOfARunningGenerationIsNotTouched) {
  Generations generations(loop_, launcher_, store_, options_);
  ASSERT_EQ(start(generations, {"f1e0", "first", "", {}}), "ok");
  EXPECT_EQ(start(generations, {"f1e0", "second", "", {}}), "HWS-BR-021");
  EXPECT_EQ(file::read_bounded(boot_ / "f1e0.json", 10).value(), "first");
}

TEST_F(GenerationsTest, AFailedStartLeavesNoBootstrap) {
  launcher_.refuse = Error(Code::kInternal, "HWS-BR-020", "no");
  Generations generations(loop_, launcher_, store_, options_);
  EXPECT_EQ(start(generations, {"f1e0", "{}", "", {}}), "HWS-BR-020");
  EXPECT_FALSE(file::exists(boot_ / "f1e0.json"));
}

TEST_F(GenerationsTest, BadRequestsReachNoLauncher) {
  Generations generations(loop_, launcher_, store_, options_);
  EXPECT_EQ(start(generations, {"../x", "{}", "", {}}), "HWS-BR-011");
  EXPECT_EQ(start(generations, {"f1e0", "", "", {}}), "HWS-BR-016");
  EXPECT_EQ(start(generations, {"f1e0", std::string(600U << 10U, ' '), "", {}}), "HWS-BR-016");
  EXPECT_EQ(start(generations, {"f1e0", "{}", std::string(64, '0'), {}}), "HWS-BR-030");
  EXPECT_EQ(start(generations, {"f1e0", "{}", "", {"--log-path", "/x"}}), "HWS-BR-012");
  EXPECT_TRUE(launcher_.specs.empty());
}

TEST_F(GenerationsTest, WhatRanWhenInterceptionWasConfirmedIsStartedAgain) {
  Generations generations(loop_, launcher_, store_, options_);
  generations.cold_start([](const Status& status) { EXPECT_EQ(status.error().id(), "HWS-BR-051"); });
  EXPECT_EQ(start(generations, {"f1e3", R"({"a": "/f1e3.admin.sock"})", "", {"--concurrency", "2"}}), "ok");
  generations.remember_good();
  EXPECT_TRUE(generations.any_running());
  launcher_.states.clear();
  EXPECT_FALSE(generations.any_running());
  bool started = false;
  generations.cold_start([&](const Status& status) { started = static_cast<bool>(status); });
  ASSERT_TRUE(started);
  EXPECT_EQ(launcher_.specs.back().name, "f1e0");
  EXPECT_EQ(launcher_.specs.back().binary_sha256, digest_);
  EXPECT_EQ(*file::read_bounded(boot_ / "f1e0.json", 1024), R"({"a": "/f1e0.admin.sock"})");
  generations.forget_good();
  generations.cold_start([](const Status& status) { EXPECT_EQ(status.error().id(), "HWS-BR-051"); });
}

TEST_F(GenerationsTest, AValidationSeesTheVeryCommandLineOfTheStart) {
  Generations generations(loop_, launcher_, store_, options_);
  bool valid = true;
  generations.validate({"f1e1", "{}", "", {"--concurrency", "2"}},
                       [&valid](const auto& result) { valid = result->valid; });
  EXPECT_FALSE(valid);
  ASSERT_EQ(start(generations, {"f1e1", "{}", "", {"--concurrency", "2"}}), "ok");
  auto expected = launcher_.specs.at(0).argv;
  expected.at(2) = boot_ / "f1e1.validate.json";
  expected.insert(expected.end(), {"--mode", "validate"});
  EXPECT_EQ(launcher_.checks.back().argv, expected);
}

TEST_F(GenerationsTest, ASuccessorsHotRestartVersionIsToldAndOneThatMakesNoSenseIsNot) {
  Generations generations(loop_, launcher_, store_, options_);
  std::string told = "none";
  const auto keep = [&told](const auto& result) { told = result->hot_restart_version; };
  generations.validate({"f1e0", "{}", "", {}}, keep);
  EXPECT_EQ(told, "");  // nobody to speak to
  launcher_.hot_restart_version = "usage: …";
  generations.validate({"f1e1", "{}", "", {}}, keep);
  EXPECT_EQ(told, "");
  launcher_.hot_restart_version = "11.104\n";
  generations.validate({"f1e1", "{}", "", {}}, keep);
  EXPECT_EQ(told, "11.104");
}

TEST_F(GenerationsTest, AMarkIsTakenOutByTheProxysUserAndOnlyOfTheOneOfItsFamilyThatRuns) {
  options_.self = "/usr/sbin/hawser-broker";
  Generations generations(loop_, launcher_, store_, options_);
  std::string told;
  const auto keep = [&told](const Status& status) { told = status ? "ok" : status.error().id(); };
  generations.repair("f1e3", keep);
  EXPECT_EQ(told, "HWS-BR-042");
  launcher_.states = {{"f1e3", "", 77, true, -1, 0}, {"f2e0", "", 78, true, -1, 0}, {"f1e2", "", 79, false, 0, 0}};
  generations.repair("f1e3", keep);
  EXPECT_EQ(told, "ok");
  EXPECT_EQ(launcher_.checks.back().argv, (std::vector<std::string>{"/usr/sbin/hawser-broker", "--clear-mark",
                                                                    "/dev/shm/envoy_shared_memory_41010"}));
  EXPECT_EQ(launcher_.checks.back().uid, 882U);
  launcher_.repaired = proxy::CheckResult{1, "another size\n"};
  generations.repair("f1e3", keep);
  EXPECT_EQ(told, "HWS-BR-043");
  launcher_.states.push_back({"f1e4", "", 80, true, -1, 0});
  generations.repair("f1e3", keep);
  EXPECT_EQ(told, "HWS-BR-042");
  generations.repair("../x", keep);
  EXPECT_EQ(told, "HWS-BR-011");
}

TEST_F(GenerationsTest, TheProxysReasonIsKeptWhateverItQuotes) {
  Generations generations(loop_, launcher_, store_, options_);
  std::string detail;
  const auto validate = [&] {
    generations.validate({"f1e0", "{}", "", {}}, [&detail](const auto& result) { detail = result->detail; });
  };
  const std::string chatter(50'000, 'i'), quoted(300'000, 'q');
  launcher_.verdict = "[1][info] " + chatter + "\n[1][critical] no such field" + quoted + "\nand at its end\n";
  validate();
  EXPECT_EQ(detail.find("[1][critical] no such field"), 0U) << detail;
  EXPECT_NE(detail.find("and at its end"), std::string::npos);
  EXPECT_LT(detail.size(), 4200U);
  EXPECT_GE(launcher_.checks.back().keep, chatter.size() + quoted.size());
  launcher_.verdict = "it says \xff\xfe\x1b[31m";
  validate();
  EXPECT_EQ(detail, "it says ???[31m");  // a text that protobuf and a terminal can take
}

TEST_F(GenerationsTest, WhatIsKnownToWorkIsNotValidatedAgainButAnyChangeIs) {
  const Generations::Wanted wanted{"f1e0", "{}", "", {"--concurrency", "2"}};
  {
    Generations before(loop_, launcher_, store_, options_);
    before.validate(wanted, [](const auto&) {});
    ASSERT_EQ(start(before, wanted), "ok");
    before.remember_good();
  }
  launcher_.checks.clear();
  Generations generations(loop_, launcher_, store_, options_);
  std::string version;
  generations.validate(wanted, [&version](const auto& result) { version = result->version; });
  EXPECT_EQ(version, "1.40.0");
  EXPECT_TRUE(launcher_.checks.empty());
  generations.validate({"f1e0", "{} ", "", {"--concurrency", "2"}}, [](const auto&) {});
  EXPECT_EQ(launcher_.checks.size(), 1U);
  generations.validate({"f1e0", "{}", "", {"--concurrency", "3"}}, [](const auto&) {});
  EXPECT_EQ(launcher_.checks.size(), 2U);
}

TEST_F(GenerationsTest, OnlyTwoSignalsMayBeSent) {
  Generations generations(loop_, launcher_, store_, options_);
  EXPECT_TRUE(generations.signal("f1e0", SIGTERM));
  EXPECT_TRUE(generations.signal("f1e0", SIGKILL));
  EXPECT_EQ(generations.signal("f1e0", SIGSTOP).error().id(), "HWS-BR-017");
  EXPECT_EQ(generations.signal("1", SIGTERM).error().id(), "HWS-BR-011");
  EXPECT_EQ(launcher_.signals.size(), 2U);
}

TEST_F(GenerationsTest, TheWaitOfAReapIsBounded) {
  Generations generations(loop_, launcher_, store_, options_);
  generations.reap("f1e0", std::chrono::hours(24), [](const Result<proxy::GenerationState>&) {});
  EXPECT_EQ(launcher_.waited, options_.max_wait);
}

}  // namespace
}  // namespace hawser::broker
