// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <string>
#include <vector>

#include "fakes.h"
#include "proxy/hand_over.h"

namespace hawser::proxy {

using hand_over::Deed;

// The machine alone: what it asks for is recorded, and each test answers by hand.
struct HandOverTest : testing::Test {
  HandOverTest() {
    options.request.kind = HandOverKind::kHotRestart;
    options.old_id = {1, 3};
    options.old_pid = 100;
    options.required_ports = {15001, 15006};
    options.can = fake::plain_capabilities();
    old_probe = fake::live_probe();
    old_probe.epoch = 3;
    new_probe = fake::live_probe();
    new_probe.epoch = 4;
    inspection = Inspection{"l15001 has enable_reuse_port: false", "11.104", 1, "", true};
  }

  void take(const std::vector<hand_over::Action>& actions) {
    asked.clear();
    for (const auto& action : actions) {
      asked.push_back(action.deed);
      waits = action.after;
      if (action.deed == Deed::kKill) ++kills;
    }
  }
  void begin() {
    machine.emplace(options);
    take(machine->begin(now));
  }
  template <typename Event>
  void give(Event event) {
    take(machine->handle(std::move(event), now));
  }
  void expect(Deed deed) { EXPECT_THAT(asked, testing::ElementsAre(deed)); }

  void to_proving() {
    begin();
    give(hand_over::Observed{std::vector<HostedGeneration>{{"f1e3", 100, true, 0, "5ha", {}}}, memory_max});
  }
  void to_inspecting() {
    to_proving();
    give(hand_over::OldProbed{old_probe});
  }
  void inspect() {
    to_inspecting();
    expect(Deed::kInspectOld);
    give(hand_over::OldInspected{inspection});
  }
  void to_validating() {
    inspect();
    expect(Deed::kValidate);
  }
  void validated() { give(hand_over::Validated{Validation{true, "", "1.40.0", candidate}}); }
  void to_warming() {
    to_validating();
    validated();
    expect(Deed::kLaunch);
    give(hand_over::Launched{StartedGeneration{101, "new"}});
    expect(Deed::kProbeNew);
  }
  void to_checking() {
    to_warming();
    give(hand_over::NewProbed{new_probe});
    expect(Deed::kInspectNew);
  }
  void checked() { give(hand_over::NewInspected{Inspection{"", "11.104", 1, "", true}}); }
  // The new one is killed and reaped; then the old one is looked at.
  void to_aftermath() {
    expect(Deed::kKill);
    give(hand_over::Killed{Status()});
    expect(Deed::kReap);
    give(hand_over::Reaped{ReapedGeneration{true, SIGKILL}});
    expect(Deed::kProbeOld);
  }
  void reaped(int status) {
    expect(Deed::kReap);
    give(hand_over::Reaped{ReapedGeneration{true, status}});
  }
  std::string id() const {
    if (!machine->done()) return "goes on";
    return machine->outcome().error ? machine->outcome().error->id() : "replaced";
  }
  std::string message() const { return machine->outcome().error ? machine->outcome().error->message() : ""; }
  // "name" of each gate that passed, "!name" of the others.
  std::vector<std::string> gates() const {
    std::vector<std::string> out;
    for (const auto& gate : machine->gates()) out.push_back((gate.passed ? "" : "!") + gate.name);
    return out;
  }

  HandOverOptions options;
  std::uint64_t memory_max = 0;  // as the host tells it
  ProbeResult old_probe;
  ProbeResult new_probe;
  Inspection inspection;
  std::string candidate = "11.104";
  std::optional<HandOver> machine;
  std::vector<Deed> asked;
  std::chrono::milliseconds waits{0};  // before the last deed
  int kills = 0;
  Loop::Monotonic now{};
};

}  // namespace hawser::proxy
