// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <utility>
#include <vector>

#include "../registration/recorded_health.h"
#include "base/fake_loop.h"
#include "drain.h"

namespace hawser {

struct Immediately final : SlowWorker {
  void submit(std::function<void()> work) override { work(); }
};

struct DrainTest : testing::Test {
  DrainTest() {
    std::string name = testing::TempDir() + "drain-XXXXXX";
    folder = ::mkdtemp(name.data());
    path = folder + "/drain.json";
    make();
  }
  ~DrainTest() override { std::filesystem::remove_all(folder); }

  // As a hawserd that starts does.
  void make(const std::string& boot = "this-boot") {
    Drain::Proxy proxy;
    proxy.serving = [this] { return serving; };
    proxy.drain_inbound = [this](const std::string& generation, std::function<void(Status)> done) {
      did.push_back("drain " + generation + (std::filesystem::exists(path) ? ", kept" : ""));
      if (slow_answers) return answers.push_back(std::move(done));
      done(drains);
    };
    proxy.connections = [this](const std::string&, auto done) {
      ++looks;
      done(open);
    };
    proxy.callers = [this](const std::set<std::uint16_t>& ports) {
      asked_ports = ports;
      return callers;
    };
    proxy.expect_drained = [this](pid_t pid) { expected = pid; };
    proxy.restart = [this](proxy::HandOverKind kind, std::function<void(Status)> done) {
      did.push_back("restart " + std::string(proxy::hand_over_name(kind)));
      restarted = std::move(done);
    };
    drain = std::make_unique<Drain>(
        Drain::Context{loop, slow, health, metrics, path, boot, std::chrono::seconds(1), std::chrono::seconds(5)},
        std::move(proxy), [this](const std::string& reason) { withheld = reason; });
    drain->start();
  }
  // What it says, or the id of its error, or "none yet".
  nlohmann::json begin(Drain::Order order = {});
  nlohmann::json end();
  void close_listeners();
  std::shared_ptr<std::optional<Result<std::string>>> end_later() {
    auto said = std::make_shared<std::optional<Result<std::string>>>();
    drain->end([said](Result<std::string> result) { *said = std::move(result); });
    loop.run_ready();
    return said;
  }
  void refuse(const std::string& id) {
    std::exchange(restarted, nullptr)(Error(Code::kFailedPrecondition, id, "not now", "later"));
    loop.run_ready();
  }
  bool has_metric(const std::string& line) const { return metrics.text().find(line + "\n") != std::string::npos; }

  FakeLoop loop;
  Immediately slow;
  registration::RecordedHealth health;
  Metrics metrics;
  std::string folder;
  std::string path;
  std::optional<Drain::Proxy::Serving> serving = Drain::Proxy::Serving{"f1e0", 101};
  std::vector<proxy::ListenerConnections> open;
  std::vector<proxy::Peer> callers;
  std::set<std::uint16_t> asked_ports;
  std::vector<std::string> did;
  Status drains;
  bool slow_answers = false;
  std::vector<std::function<void(Status)>> answers;
  std::function<void(Status)> restarted;
  pid_t expected = 0;
  unsigned looks = 0;
  std::string withheld;
  std::unique_ptr<Drain> drain;
};

}  // namespace hawser
