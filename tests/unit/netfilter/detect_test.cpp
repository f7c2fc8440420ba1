// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/detect.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>

#include "netfilter/backend_pair.h"
#include "netfilter/iptc_backend.h"
#include "netfilter/nft_backend.h"
#include "sample.h"

namespace hawser::netfilter {
namespace {

class DetectTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs a network namespace";
    lock_ = testing::TempDir() + "detect." + std::to_string(::getpid()) + ".lock";
    ::setenv("XTABLES_LOCKFILE", lock_.c_str(), 1);
  }
  void TearDown() override { ::unlink(lock_.c_str()); }

  static std::string run(const std::string& command) {
    FILE* pipe = ::popen((command + " 2>/dev/null").c_str(), "r");
    std::string out;
    char buffer[4096];
    while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
    ::pclose(pipe);
    return out;
  }

  std::string lock_;
};

TEST_F(DetectTest, AsksTheKernelAndLeavesNothing) {
  auto detected = detect();
  ASSERT_TRUE(detected) << detected.error().to_string();
  EXPECT_EQ(detected->kind, BackendKind::kNftables);
  EXPECT_NE(detected->reason, "");
  EXPECT_EQ(run("nft list ruleset"), "");
  EXPECT_EQ(detect(BackendKind::kXtables)->kind, BackendKind::kXtables);
  EXPECT_EQ(run("cat /proc/net/ip_tables_names"), "");
}

TEST_F(DetectTest, ABackendHasAName) {
  EXPECT_EQ(parse_backend("xtables").value(), BackendKind::kXtables);
  EXPECT_EQ(parse_backend("ipfw").error().id(), "HWS-NF-076");
}

TEST_F(DetectTest, FromOneToTheOtherLeavesOneInForce) {
  const Plan plan = compile(basic()).value();
  const auto nft = [] { return NftBackend::make().value(); };
  const auto xtables = [] { return std::make_unique<IptcBackend>(); };

  ASSERT_TRUE(xtables()->apply(plan));
  auto to_nft = std::make_unique<BackendPair>(nft(), xtables(), "");
  EXPECT_EQ(to_nft->observe()->listing.digest, plan.digest);  // adopted before it's replaced
  ASSERT_TRUE(to_nft->apply(plan));
  EXPECT_NE(run("nft list table inet hawser"), "");
  EXPECT_EQ(run("iptables-legacy-save; ip6tables-legacy-save").find("HAWSER"), std::string::npos);

  auto former = nft();
  to_nft.reset();  // its table goes with its socket, the anchor stays
  ASSERT_TRUE(former->apply(plan));
  BackendPair to_xtables(xtables(), std::move(former), "");
  EXPECT_EQ(to_xtables.observe()->listing.digest, plan.digest);
  ASSERT_TRUE(to_xtables.apply(plan));
  EXPECT_EQ(run("nft list ruleset | grep hawser"), "");
  EXPECT_NE(run("iptables-legacy-save").find("-A OUTPUT -m comment"), std::string::npos);

  BackendPair back(nft(), xtables(), "");
  ASSERT_TRUE(back.remove_rules());
  ASSERT_TRUE(back.remove_anchor());
  EXPECT_EQ(run("iptables-legacy-save; ip6tables-legacy-save").find("HAWSER"), std::string::npos);
}

}  // namespace
}  // namespace hawser::netfilter
