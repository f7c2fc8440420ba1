// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "base/health.h"

namespace hawser::registration {

struct RecordedHealth final : HealthSink {
  struct Item {
    HealthState state = HealthState::kStarting;
    std::string detail;
    std::string id;
  };
  void report(const std::string& item, HealthState state, const std::string& detail, const Error* error) override {
    items[item] = {state, detail, error == nullptr ? "" : error->id()};
  }
  std::map<std::string, Item> items;
};

}  // namespace hawser::registration
