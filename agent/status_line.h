// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/health.h"
#include "base/loop.h"

namespace hawser {

// What: systemd's STATUS= line, which follows the first line of `hawser status`. Changes that come together are told
// once, and a line that stays the same isn't told again. Threading: on the loop. Failure: none.
class StatusLine {
 public:
  using Tell = std::function<void(const std::string&)>;

  StatusLine(Loop& loop, std::function<std::string()> text, Tell tell);

  void changed();

 private:
  void look();

  Loop& loop_;
  std::function<std::string()> text_;
  Tell tell_;
  std::string told_;
  bool pending_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// What: a HealthSink that passes on, and says that something was reported. Threading: on the loop. Failure: none.
class WatchedHealth final : public HealthSink {
 public:
  WatchedHealth(HealthSink& sink, std::function<void()> reported) : sink_(sink), reported_(std::move(reported)) {}
  void report(const std::string& item, HealthState state, const std::string& detail, const Error* error) override {
    sink_.report(item, state, detail, error);
    reported_();
  }

 private:
  HealthSink& sink_;
  std::function<void()> reported_;
};

}  // namespace hawser
