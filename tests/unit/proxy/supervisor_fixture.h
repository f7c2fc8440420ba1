// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"
#include "proxy/supervisor.h"
#include "status/health_items.h"

namespace hawser::proxy {

struct SupervisorTest : testing::Test {
  SupervisorTest() { make(); }

  void make() {
    options.bootstrap = [this](const std::string& generation) {
      return bootstrap_ok ? "{" + generation + "}" : std::string();
    };
    options.room = [this](const std::string&, pid_t) { return room; };
    options.queues_move = [] { return true; };
    options.cold_allowed = cold_allowed;
    options.rest = rest;
    options.hand_overs_per_hour = per_hour;
    options.feed = fed ? &feed : nullptr;
    driver.can.waits_for_listeners = fed;
    supervisor = std::make_unique<Supervisor>(loop, host, driver, watcher, options, health, metrics);
  }
  void start() {
    supervisor->start([this](const std::string& generation,
                             pid_t pid) { told.push_back("live " + generation + " " + std::to_string(pid)); },
                      [this](const std::string& reason) { told.push_back("down: " + reason); });
    loop.run_ready();
  }
  // Started and LIVE, as pid 101.
  void start_live() {
    driver.seen = fake::live_probe();
    start();
    ASSERT_THAT(told, testing::ElementsAre("live f1e0 101"));
    told.clear();
    host.calls.clear();
  }
  // Dies and is noticed by its pidfd.
  void die(int status) {
    const pid_t pid = host.last_pid;
    host.finish(status);
    watcher.tell(pid);
    loop.run_ready();
  }
  void stop(std::chrono::seconds drain) {
    supervisor->stop(drain, [this](const Status& result) { stopped.push_back(result); });
    loop.run_ready();
  }
  std::string state() const { return supervisor->status().state; }
  const status::HealthItems::Item& item() const { return health.items().front(); }
  std::string item_id() const { return item().error ? item().error->id() : ""; }
  bool has_metric(const std::string& line) const { return metrics.text().find(line + "\n") != std::string::npos; }

  FakeLoop loop;
  Metrics metrics;
  status::HealthItems health{loop, metrics};
  fake::Host host{loop};
  fake::Driver driver;
  fake::Watcher watcher;
  Supervisor::Options options;
  bool bootstrap_ok = true;
  std::optional<MemoryRoom> room;
  bool cold_allowed = false;
  std::chrono::milliseconds rest{0};
  unsigned per_hour = 0;
  fake::Feed feed{loop};
  bool fed = false;
  std::unique_ptr<Supervisor> supervisor;
  std::vector<std::string> told;
  std::vector<Status> stopped;
};

// One generation takes over from another, as an operator asks.
struct ReplacingTest : SupervisorTest {
  ReplacingTest() {
    driver.kernel = fake::live_probe().listeners;
    follow();
  }
  void follow() {
    supervisor->on_replaced([this](const std::string& generation, pid_t pid) {
      told.push_back("replaced " + generation + " " + std::to_string(pid));
    });
  }
  void restart(HandOverRequest request = {}) {
    supervisor->restart(std::move(request),
                        [this](const Result<Supervisor::Restarted>& result) { results.push_back(result); });
    loop.run_ready();
  }
  std::string result_id() const {
    if (results.empty()) return "none";
    return results.back() ? "ok" : results.back().error().id();
  }

  std::vector<Result<Supervisor::Restarted>> results;
};

}  // namespace hawser::proxy
