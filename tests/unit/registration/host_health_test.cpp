// SPDX-License-Identifier: Apache-2.0
#include "registration/host_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace hawser::registration {
namespace {

using config::Millis;
using testing::HasSubstr;

// A service is well while its file exists.
struct HostHealthTest : testing::Test {
  HostHealthTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hawser-health-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) folder = pattern;
  }
  ~HostHealthTest() override {
    health.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  config::HealthProbe probe(const std::string& name) const {
    config::HealthProbe out;
    out.kind = config::HealthProbe::Kind::kExec;
    out.service = name;
    out.command = {"/usr/bin/test", "-e", (folder / name).string()};
    out.period = Millis(10);
    out.timeout = Millis(5000);
    out.failure_threshold = 1;
    return out;
  }
  void set(const std::string& name, bool well) const {
    if (well)
      std::ofstream(folder / name) << "x";
    else
      std::filesystem::remove(folder / name);
  }
  void start(const std::vector<config::HealthProbe>& probes, bool any) {
    health = std::make_unique<HostHealth>(loop, metrics, probes, any, ProbeSurroundings{},
                                          [this](bool healthy, const std::string& reason) {
                                            results.push_back(healthy ? "well" : reason);
                                            loop.stop();
                                          });
    health->start();
  }
  std::string next() {
    const auto deadline = loop.after(std::chrono::seconds(20), [this] { loop.stop(); });
    if (results.empty()) loop.run();
    loop.context().restart();
    if (results.empty()) return "nothing";
    std::string first = results.front();
    results.erase(results.begin());
    return first;
  }

  AsioLoop loop;
  Metrics metrics;
  std::filesystem::path folder;
  std::vector<std::string> results;
  std::unique_ptr<HostHealth> health;
};

TEST_F(HostHealthTest, WithoutAProbeTheHostIsWell) {
  start({}, false);
  EXPECT_EQ(next(), "well");
}

TEST_F(HostHealthTest, AllServicesHaveToBeWellAndTheReasonNamesThoseThatArent) {
  set("web", true);
  set("db", true);
  start({probe("web"), probe("db")}, false);
  EXPECT_EQ(next(), "well");
  set("db", false);
  EXPECT_EQ(next(), "db: /usr/bin/test exited with 1");
  set("web", false);
  const std::string both = next();
  EXPECT_THAT(both, HasSubstr("web: "));
  EXPECT_THAT(both, HasSubstr("; db: "));
  set("web", true);
  set("db", true);
  std::string last = next();
  while (last != "well" && last != "nothing") last = next();
  EXPECT_EQ(last, "well");
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_service_healthy{service=\"db\"} 1"));
}

TEST_F(HostHealthTest, OneSickServiceDecidesBeforeTheOthersHaveAnswered) {
  set("slow", true);
  auto slow = probe("slow");
  slow.initial_delay = std::chrono::hours(1);
  start({slow, probe("db")}, false);
  EXPECT_EQ(next(), "db: /usr/bin/test exited with 1");
  const auto services = health->services();
  EXPECT_EQ(services[0].healthy, std::nullopt);
  EXPECT_EQ(services[1].healthy, false);
  EXPECT_EQ(services[1].kind, "exec");
}

TEST_F(HostHealthTest, WithAnyOneServiceIsEnough) {
  set("b", true);
  start({probe("a"), probe("b")}, true);
  EXPECT_EQ(next(), "well");
  set("b", false);
  EXPECT_EQ(next(), "a: /usr/bin/test exited with 1; b: /usr/bin/test exited with 1");
}

TEST_F(HostHealthTest, TheOnlyProgramNeedsNoName) {
  auto only = probe("");
  only.command = {"/bin/false"};
  start({only}, false);
  EXPECT_EQ(next(), "/bin/false exited with 1");
  EXPECT_EQ(health->services()[0].name, "program");
}

}  // namespace
}  // namespace hawser::registration
