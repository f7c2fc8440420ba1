// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/iptc_backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "netfilter/routed_backend.h"
#include "sample.h"
#include "xtables_sample.h"

namespace hawser::netfilter {
namespace {

// Each test has a network namespace, and so tables, of its own.
class IptcBackendTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs a network namespace";
    lock_ = testing::TempDir() + "xtables." + std::to_string(::getpid()) + ".lock";
    ::setenv("XTABLES_LOCKFILE", lock_.c_str(), 1);
  }
  void TearDown() override { ::unlink(lock_.c_str()); }

  static IptcBackend backend(std::chrono::milliseconds wait = std::chrono::milliseconds(2000)) {
    IptcBackend::Options options;
    options.lock_wait = wait;
    return IptcBackend(options);
  }

  static std::string run(const std::string& command) {
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    std::string out;
    char buffer[4096];
    while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
    const int status = ::pclose(pipe);
    EXPECT_EQ(status, 0) << command << ": " << out;
    return out;
  }

  // What the real iptables says, without times, counters and the jumps' fingerprint.
  static std::string saved(const std::string& program) {
    std::istringstream lines(run(program + "-legacy-save"));
    std::string out;
    for (std::string line; std::getline(lines, line);) {
      if (line.empty() || line[0] == '#') continue;
      if (const auto at = line.find(" ["); at != std::string::npos) line.erase(at);
      if (const auto at = line.find("hawser:sha256:"); at != std::string::npos) {
        const auto digest_end = line.find_first_of(":\" ", at + 14);
        if (line[digest_end] == ':') line.erase(digest_end, line.find_first_of("\" ", digest_end) - digest_end);
      }
      out += line + "\n";
    }
    return out;
  }

  std::string lock_;
};

void expect_same(const std::string& ours, const std::string& theirs) {
  std::istringstream a(ours);
  std::istringstream b(theirs);
  std::string x;
  std::string y;
  for (int line = 1;; ++line) {
    const bool more_a = static_cast<bool>(std::getline(a, x));
    const bool more_b = static_cast<bool>(std::getline(b, y));
    ASSERT_EQ(more_a, more_b) << "line " << line << ": " << (more_a ? x : y);
    if (!more_a) return;
    ASSERT_EQ(x, y) << "line " << line;
  }
}

void restore(const std::string& program, const std::string& text) {
  const std::string path = testing::TempDir() + program + "." + std::to_string(::getpid());
  std::ofstream(path) << text;
  ASSERT_EQ(std::system((program + "-legacy-restore --noflush < " + path).c_str()), 0);
  ::unlink(path.c_str());
}

// iptables-save shows tables in the order in which the kernel got to know them.
std::string by_table(const std::string& text) {
  std::map<std::string, std::string> tables;
  std::istringstream lines(text);
  std::string table;
  for (std::string line; std::getline(lines, line);) {
    if (line[0] == '*') table = line;
    tables[table] += line + "\n";
  }
  std::string out;
  for (const auto& [name, rules] : tables) out += rules;
  return out;
}

TEST_F(IptcBackendTest, TheKernelHasWhatIptablesMakesOfThePrintedForm) {
  for (const Plan& plan : {every_kind(), compile(basic()).value()}) {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    run("ip link set lo up");  // TPROXY's route
    auto own = backend();
    auto applied = own.apply(plan);
    ASSERT_TRUE(applied) << applied.error().to_string();
    const std::string ours4 = saved("iptables");
    const std::string ours6 = saved("ip6tables");
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    const auto form = emit_xtables(plan).value();
    restore("iptables", to_iptables(form, Family::kIpv4));
    restore("ip6tables", to_iptables(form, Family::kIpv6));
    expect_same(by_table(ours4), by_table(saved("iptables")));
    expect_same(by_table(ours6), by_table(saved("ip6tables")));
  }
}

TEST_F(IptcBackendTest, WhatIsInForceIsKnownToASuccessor) {
  const Plan plan = compile(basic()).value();
  auto first = backend();
  ASSERT_TRUE(first.apply(plan));
  auto successor = backend();
  auto seen = successor.observe();
  ASSERT_TRUE(seen);
  EXPECT_TRUE(seen->rules);
  EXPECT_TRUE(seen->anchor);
  EXPECT_EQ(seen->listing.digest, plan.digest);
  EXPECT_TRUE(seen->listing.counters.contains("out_redirect"));
  EXPECT_TRUE(seen->listing.counters.contains("in_ssh"));
}

TEST_F(IptcBackendTest, WhateverThePlanUsesItsKnownAgain) {
  run("ip link set lo up");
  Intent refusing = basic();
  refusing.refuse = true;
  Intent one_way = basic();
  one_way.capture_outbound = false;
  for (const Plan& plan : {every_kind(), compile(refusing).value(), compile(one_way).value()}) {
    auto own = backend();
    auto applied = own.apply(plan);
    ASSERT_TRUE(applied) << applied.error().to_string();
    EXPECT_EQ(own.observe()->listing.digest, plan.digest);
  }
}

TEST_F(IptcBackendTest, SomebodyElsesEditIsNoticed) {
  const Plan plan = compile(basic()).value();
  auto own = backend();
  ASSERT_TRUE(own.apply(plan));
  const std::string shape = own.observe()->shape;
  EXPECT_EQ(own.observe()->shape, shape);
  for (const char* edit :
       {"iptables-legacy -t nat -D HAWSER_OUTPUT 3", "iptables-legacy -t nat -I OUTPUT -j RETURN",
        "iptables-legacy -t nat -F", "ip6tables-legacy -t nat -F PREROUTING", "iptables-legacy -t nat -D OUTPUT 1"}) {
    run(edit);
    auto seen = own.observe();
    ASSERT_TRUE(seen);
    EXPECT_TRUE(seen->rules) << edit;
    EXPECT_EQ(seen->listing.digest, "") << edit;
    EXPECT_NE(seen->shape, shape) << edit;
    ASSERT_TRUE(own.apply(plan)) << edit;
    EXPECT_EQ(own.observe()->listing.digest, plan.digest) << edit;
    EXPECT_EQ(own.observe()->shape, shape) << edit;
  }
}

TEST_F(IptcBackendTest, OthersRulesStayAndNothingOfOursDoes) {
  run("iptables-legacy -t nat -A OUTPUT -p tcp --dport 5555 -j REDIRECT --to-ports 80");
  run("iptables-legacy -N theirs");
  run("iptables-legacy -A INPUT -j theirs");
  run("ip6tables-legacy -t nat -L -n");
  const std::string before4 = saved("iptables");
  const std::string before6 = saved("ip6tables");
  auto own = backend();
  Intent refusing = basic();
  refusing.refuse = true;
  for (const Intent& intent : {basic(), refusing}) {
    ASSERT_TRUE(own.apply(compile(intent).value()));
    EXPECT_NE(saved("iptables"), before4);
    ASSERT_TRUE(own.remove_rules());
    EXPECT_FALSE(own.observe()->rules);
    EXPECT_TRUE(own.observe()->anchor);
    ASSERT_TRUE(own.remove_anchor());
    EXPECT_FALSE(own.observe()->anchor);
    for (const char* table : {"*filter\n", "*nat\n"}) EXPECT_NE(saved("iptables").find(table), std::string::npos);
    EXPECT_EQ(saved("iptables"), before4);
  }
  EXPECT_EQ(saved("ip6tables").find("HAWSER"), std::string::npos);
}

// What the proxy opened with the caller's address lives on its route as long as on the anchor.
TEST_F(IptcBackendTest, RoutingStaysWithTheAnchorWhenTheRulesGo) {
  run("ip link set lo up");
  Intent intent = basic();
  intent.inbound_mode = InboundMode::kTproxy;
  RoutedBackend routed(std::make_unique<IptcBackend>(backend()));
  ASSERT_TRUE(routed.apply(compile(intent).value()));
  ASSERT_TRUE(routed.remove_rules());
  EXPECT_NE(run("ip rule").find("fwmark 0x539"), std::string::npos);
  const auto left = routed.observe();
  ASSERT_TRUE(left);
  EXPECT_TRUE(left->routing && left->anchor && !left->rules);
  ASSERT_TRUE(routed.remove_anchor());
  EXPECT_EQ(run("ip rule").find("fwmark"), std::string::npos);
}

TEST_F(IptcBackendTest, WithoutALockFileNothingIsChanged) {
  ::setenv("XTABLES_LOCKFILE", "/nowhere/xtables.lock", 1);
  auto own = backend();
  auto applied = own.apply(compile(basic()).value());
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().id(), "HWS-NF-072");
  EXPECT_FALSE(own.observe()->rules);
}

TEST_F(IptcBackendTest, ALockThatAnotherProgramHoldsIsNamed) {
  const int held = ::open(lock_.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  auto own = backend(std::chrono::milliseconds(50));
  auto applied = own.apply(compile(basic()).value());
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().id(), "HWS-NF-071");
  EXPECT_NE(applied.error().message().find("pid " + std::to_string(::getpid())), std::string::npos)
      << applied.error().message();
  EXPECT_FALSE(own.observe()->rules);
  ::close(held);
  EXPECT_TRUE(own.apply(compile(basic()).value()));
}

TEST_F(IptcBackendTest, ATableThatFailsTakesTheOthersBack) {
  auto own = backend();
  const Plan before = compile(basic()).value();
  ASSERT_TRUE(own.apply(before));
  const std::string saved4 = saved("iptables");
  Plan plan = every_kind();
  // The kernel alone knows that this cgroup isn't there: its folder is looked for first, but not under this name.
  Match match;
  match.cgroups = {"./no-such-cgroup/.."};
  plan.rules.push_back({Hook::kOutput, Purpose::kExemptCgroup, match, {}});
  auto applied = own.apply(plan);
  ASSERT_FALSE(applied);
  EXPECT_EQ(own.observe()->listing.digest, before.digest) << applied.error().to_string();
  std::istringstream lines(saved("iptables"));
  for (std::string line; std::getline(lines, line);)
    EXPECT_TRUE(line.find("HAWSER") == std::string::npos || saved4.find(line) != std::string::npos) << line;
}

TEST_F(IptcBackendTest, AnotherWriterLosesNothing) {
  auto own = backend();
  ASSERT_TRUE(own.apply(compile(basic()).value()));
  const pid_t writer = ::fork();
  if (writer == 0) {
    for (int i = 0; i < 60; ++i) {
      const std::string port = std::to_string(2000 + i);
      const std::string command = "iptables-legacy -w 10 -t nat -A OUTPUT -p tcp --dport " + port + " -j RETURN";
      if (std::system(command.c_str()) != 0) ::_exit(1);
    }
    ::_exit(0);
  }
  Intent other = basic();
  other.capture_inbound = false;
  int status = 0;
  int plans = 0;
  while (::waitpid(writer, &status, WNOHANG) == 0) {
    auto applied = own.apply(compile(plans++ % 2 == 0 ? other : basic()).value());
    ASSERT_TRUE(applied) << applied.error().to_string();
  }
  EXPECT_EQ(status, 0);
  EXPECT_GT(plans, 20);
  const std::string now = saved("iptables");
  for (int i = 0; i < 60; ++i) EXPECT_NE(now.find("--dport " + std::to_string(2000 + i) + " "), std::string::npos) << i;
  EXPECT_NE(own.observe()->listing.digest, "");
}

}  // namespace
}  // namespace hawser::netfilter
