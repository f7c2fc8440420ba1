// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_exec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <optional>
#include <thread>

#include "base/asio_loop.h"
#include "certs/csr.h"
#include "certs/system_roots.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using test::around;
using test::kSpiffe;
using ::testing::HasSubstr;

class ExecCaTest : public ::testing::Test {
 protected:
  ExecCaTest() : csr(*make_csr(key, kSpiffe)) {
    options.roots = [this] { return known; };
    write("leaf.pem", ca.sign_csr(csr, kSpiffe, around(loop.wall())));
    write("intermediate.pem", ca.intermediate_pem());
    write("root.pem", ca.root_pem());
  }

  void write(const std::string& name, const std::string& text) const { std::ofstream(folder.at(name)) << text; }
  void run(const std::string& script) { options.command = {"/bin/sh", "-c", "cd " + folder.path() + "; " + script}; }

  CaClient::Request request() const {
    CaClient::Request out;
    out.csr_pem = csr;
    out.ttl = 90s;
    out.token = Secret("jwt-secret");
    out.spiffe_id = kSpiffe;
    return out;
  }

  Result<CaClient::Answer> sign() {
    ExecCa asked(loop, options);
    std::optional<Result<CaClient::Answer>> out;
    const auto timeout = loop.after(20s, [this] { loop.stop(); });
    asked.sign(request(), [&](Result<CaClient::Answer> answer) {
      out.emplace(std::move(answer));
      loop.stop();
    });
    loop.context().restart();
    loop.run();
    if (!out) return Error(Code::kUnknown, "test", "no answer in time");
    return std::move(*out);
  }

  AsioLoop loop;
  test::TempFolder folder;
  test::TestCa ca{"private"};
  test::TestCa mesh{"mesh"};
  KnownRoots known{mesh.root_pem(), false};
  Secret key = *make_key(KeyKind::kEcP256);
  std::string csr;
  ExecCa::Options options;
};

TEST_F(ExecCaTest, GivesTheRequestAndTakesTheChain) {
  options.environment = {{"HAWSER_CLUSTER_ID", "east"}};
  run("cat > csr.pem; env > env; cat leaf.pem intermediate.pem root.pem");
  const auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->roots_pem, ca.root_pem());
  std::stringstream given;
  given << std::ifstream(folder.at("csr.pem")).rdbuf();
  EXPECT_EQ(given.str(), csr);
  std::stringstream environment;
  environment << std::ifstream(folder.at("env")).rdbuf();
  EXPECT_THAT(environment.str(), HasSubstr(std::string("HAWSER_SPIFFE_ID=") + kSpiffe + "\n"));
  EXPECT_THAT(environment.str(), HasSubstr("HAWSER_TTL_SECONDS=90\n"));
  EXPECT_THAT(environment.str(), HasSubstr("HAWSER_CLUSTER_ID=east\n"));
  EXPECT_THAT(environment.str(), testing::Not(HasSubstr("jwt-secret")));
  EXPECT_TRUE(accept_answer(std::move(key), *answer, {kSpiffe, {}}, loop.wall()));
}

TEST_F(ExecCaTest, TrustsTheConfiguredRootWhereNoneIsWritten) {
  known.pem = ca.root_pem();
  run("cat leaf.pem intermediate.pem");
  const auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->roots_pem, ca.root_pem());
}

TEST_F(ExecCaTest, NeverMakesTheMachinesRootsThoseOfTheMesh) {
  known = {"", true};
  run("cat leaf.pem intermediate.pem");
  EXPECT_EQ(sign().error().id(), "HWS-CA-017");
}

TEST_F(ExecCaTest, TellsHowTheProgramFailed) {
  run("echo 'vault: permission denied' >&2; exit 2");
  auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-020");
  EXPECT_THAT(answer.error().message(), HasSubstr("/bin/sh exited with 2: vault: permission denied"));
  EXPECT_TRUE(answer.error().retryable());

  options.command = {"/nowhere/sign"};
  answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-020");
  EXPECT_THAT(answer.error().message(), HasSubstr("/nowhere/sign: No such file"));
  EXPECT_FALSE(answer.error().retryable());
}

TEST_F(ExecCaTest, EndsAProgramThatTakesTooLong) {
  options.timeout = 200ms;
  run("sleep 1000");
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-020");
  EXPECT_EQ(answer.error().code(), Code::kDeadlineExceeded);
}

TEST_F(ExecCaTest, RefusesWhatIsNoCertificate) {
  for (const char* script : {"true", "echo signed", "cat leaf.pem; echo '-----BEGIN CERTIFICATE-----'; echo AAAA"}) {
    run(script);
    const auto answer = sign();
    ASSERT_FALSE(answer) << script;
    EXPECT_EQ(answer.error().id(), "HWS-CA-021") << script;
  }
  run("head -c 2000000 /dev/zero");
  EXPECT_EQ(sign().error().id(), "HWS-CA-020");
}

TEST_F(ExecCaTest, KillsTheProgramWhenItIsCancelled) {
  run("echo $$ > pid.new; mv pid.new pid; exec sleep 1000");
  bool answered = false;
  pid_t pid = 0;
  {
    ExecCa asked(loop, options);
    asked.sign(request(), [&](const auto&) { answered = true; });
    while (!(std::ifstream(folder.at("pid")) >> pid)) std::this_thread::sleep_for(5ms);
    asked.cancel();
    asked.sign(request(), [&](const auto&) { answered = true; });
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  const auto end = loop.after(50ms, [this] { loop.stop(); });
  loop.run();
  EXPECT_FALSE(answered);
}

TEST(SystemRoots, AreTheFirstBundleThatIsThere) {
  const test::TempFolder folder;
  const test::TestCa ca("os");
  std::ofstream(folder.at("second")) << ca.root_pem();
  const auto roots = load_system_roots({folder.at("first"), folder.at("second")});
  ASSERT_TRUE(roots) << roots.error().to_string();
  EXPECT_EQ(*roots, ca.root_pem());
}

TEST(SystemRoots, AreNamedWhenTheyAreMissing) {
  const test::TempFolder folder;
  EXPECT_EQ(load_system_roots({folder.at("none")}).error().id(), "HWS-CA-018");
  std::ofstream(folder.at("empty")) << "";
  EXPECT_EQ(load_system_roots({folder.at("empty")}).error().id(), "HWS-CA-018");
}

}  // namespace
}  // namespace hawser::certs
