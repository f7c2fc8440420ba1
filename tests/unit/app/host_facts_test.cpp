// SPDX-License-Identifier: Apache-2.0
#include "host_facts.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "xds/snapshot/addresses.h"

namespace hawser {
namespace {

using xds::snapshot::KnownAddresses;

class HostFactsTest : public ::testing::Test {
 protected:
  HostFactsTest() {
    std::filesystem::create_directories(state + "/xds");
    // A label of over 63 letters: no resolver asks anybody for it.
    config.control_plane.address = {std::string(64, 'x') + ".test", 15012};
    config.workload.addresses = {"127.0.0.1"};
  }
  ~HostFactsTest() override { std::filesystem::remove_all(state); }

  void remember(const std::string& host, const std::string& address) {
    const KnownAddresses known{{address}, std::chrono::system_clock::now()};
    ASSERT_TRUE(xds::snapshot::remember_addresses(state + "/xds", host, known));
  }

  std::string state = ::testing::TempDir() + "host-facts-" + std::to_string(getpid());
  config::Config config;
};

TEST_F(HostFactsTest, ANameThatCannotBeLookedUpHasItsLastAddresses) {
  remember(config.control_plane.address.host, "127.0.0.9");
  const auto seen = observe_host(config, state);
  ASSERT_TRUE(seen) << seen.error().to_string();
  ASSERT_EQ(seen->plane.size(), 1U);
  EXPECT_EQ(seen->plane.front().text(), "127.0.0.9:15012");
}

TEST_F(HostFactsTest, WithoutThemItIsAnError) {
  const auto seen = observe_host(config, state);
  ASSERT_FALSE(seen);
  EXPECT_EQ(seen.error().id(), "HWS-HF-001");
}

TEST_F(HostFactsTest, WithoutSnapshotNothingIsKeptOrUsed) {
  remember(config.control_plane.address.host, "127.0.0.9");
  config.control_plane.snapshot.enabled = false;
  EXPECT_FALSE(observe_host(config, state));
}

TEST_F(HostFactsTest, ANameThatWasLookedUpIsRemembered) {
  config.control_plane.address.host = "localhost";
  ASSERT_TRUE(observe_host(config, state));
  const auto book = xds::snapshot::load_addresses(state + "/xds");
  ASSERT_TRUE(book);
  EXPECT_TRUE(book->contains("localhost"));
}

}  // namespace
}  // namespace hawser
