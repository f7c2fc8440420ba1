// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proxy/systemd_bus.h"

namespace hawser::proxy {

// systemd as the launcher sees it; a test plays the units' lives.
class FakeBus final : public SystemdBus {
 public:
  void set_events(Events* events) override { events_ = events; }
  bool connected() const override { return is_connected; }
  std::string boot() const override { return boot_name; }
  void start(const std::string& unit, UnitProperties properties, Answer<void> done) override {
    calls.push_back("start " + unit);
    started[unit] = std::move(properties);
    if (on_start) on_start(unit);
    if (!is_connected) return done(Error(Code::kUnavailable, "HWS-BR-040", "not connected"));
    if (units.count(unit) != 0) return done(Error(Code::kAlreadyExists, "HWS-BR-041", "exists"));
    if (hold_starts) {
      held.push_back(std::move(done));
      return;
    }
    done(Status());
  }
  void kill(const std::string& unit, int signal, Answer<void> done) override {
    calls.push_back("kill " + unit + " " + std::to_string(signal));
    done(Status());
  }
  void reset_failed(const std::string& unit, Answer<void> done) override {
    calls.push_back("reset " + unit);
    if (!is_connected) return done(Error(Code::kUnavailable, "HWS-BR-040", "not connected"));
    units.erase(unit);
    done(Status());
  }
  void list(const std::string&, Answer<std::vector<std::string>> done) override {
    std::vector<std::string> names;
    for (const auto& [name, state] : units) names.push_back(name);
    done(names);
  }
  void get(const std::string& unit, Answer<UnitState> done) override {
    UnitState out;
    if (units.count(unit) != 0)
      out = units[unit];
    else
      out.load_state = "not-found";
    done(out);
  }
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds) override { return done(); }

  // --- what a test does

  static UnitState running(std::uint32_t pid) {
    UnitState out;
    out.load_state = "loaded";
    out.active_state = "active";
    out.invocation = "cafe" + std::to_string(pid);
    out.main_pid = pid;
    out.exit_code = 0;
    out.exit_value = 0;
    out.started_at = 1'700'000'000;
    return out;
  }
  void come_up(const std::string& unit, std::uint32_t pid) {
    units[unit] = running(pid);
    events_->job_removed(unit, "done");
  }
  // Code and value as systemd has them. What ends well is unloaded at once.
  void end(const std::string& unit, int code, int value) {
    UnitState change;
    const bool well = code == 1 && value == 0;
    change.active_state = well ? "inactive" : "failed";
    change.main_pid = 0;
    change.exit_code = code;
    change.exit_value = value;
    units[unit].merge(change);
    if (well) units.erase(unit);
    events_->changed(unit, change);
    if (well) events_->removed(unit);
  }
  void disconnect() {
    is_connected = false;
    auto answers = std::move(held);
    held.clear();
    for (auto& answer : answers) answer(Error(Code::kUnavailable, "HWS-BR-041", "the connection was lost"));
    events_->disconnected();
  }
  void reconnect() {
    is_connected = true;
    events_->connected();
  }
  Events& events() { return *events_; }

  std::vector<std::string> calls;
  std::map<std::string, UnitProperties> started;
  std::map<std::string, UnitState> units;
  std::function<void(const std::string&)> on_start;
  std::vector<Answer<void>> held;
  std::string boot_name = "systemd-1";
  bool is_connected = true;
  bool hold_starts = false;

 private:
  Events* events_ = nullptr;
};

}  // namespace hawser::proxy
