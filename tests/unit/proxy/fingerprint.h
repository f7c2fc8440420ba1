// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <csignal>
#include <functional>
#include <string>

#include "proxy/hand_over.h"
#include "proxy/supervision.h"

namespace hawser::proxy {

// What: the state of a machine as a text, for the exploration: two that answer alike to whatever comes have the same
// one. Times are ages, and no older than what the machine compares them with; pids are what `pid` makes of them.
struct Fingerprint {
  using Pid = std::function<int(pid_t)>;
  using Monotonic = Loop::Monotonic;

  struct Text {
    std::string out;
    Monotonic now;

    Text& operator<<(long long value) {
      out += std::to_string(value);
      out += ',';
      return *this;
    }
    Text& operator<<(const std::string& value) {
      out += value;
      out += ',';
      return *this;
    }
    // In steps of 100 ms.
    void age(const std::optional<Monotonic>& since, std::chrono::milliseconds cap) {
      if (!since) {
        *this << -1;
        return;
      }
      const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(now - *since);
      *this << std::min(passed, cap).count() / 100;
    }
  };

  static std::string of(const Supervision& m, Monotonic now, const Pid& pid) {
    Text text{{}, now};
    const auto phase = m.phase_;
    text << static_cast<int>(phase) << m.facts_.generation << pid(m.facts_.pid) << (m.facts_.adopted ? 1 : 0);
    text << (m.stopping_ ? 1 : 0) << (m.first_look_ ? 1 : 0) << (m.replaceable_ ? 1 : 0) << m.failures_;
    text << m.lost_gates_ << m.elder_ << ((m.unasked_ ? 1 : 0) | (m.leftover_ ? 2 : 0))
         << std::min(m.backoff_.attempts(), Supervision::kSeries);
    for (const auto& name : m.retired_) text << name;
    if (phase == Phase::kWarming) {
      text.age(m.warm_since_, m.options_.start_timeout);
      text.age(m.closed_since_, std::chrono::seconds(2));
      text.age(m.mute_since_, m.options_.start_timeout);
    }
    if (phase == Phase::kLive || phase == Phase::kHandingOver) {
      text.age(m.live_since_, m.options_.steady);
      text.age(m.sign_of_life_, m.options_.wedge_after);
      text << (m.data_asked_ ? 1 : 0) << std::min(m.data_failures_, 2U);
    }
    text << (m.hung_ ? 1 : 0) << static_cast<long long>(m.budget_.ends_.size()) << m.budget_.quick_;
    if (phase == Phase::kDraining) {
      text << m.idle_counts_;
      text.age(m.drain_until_, std::chrono::milliseconds(0));
    }
    if (phase == Phase::kEnding) text << m.signal_;
    text << m.drain_.count();
    return text.out;
  }

  static std::string of(const HandOver& m, Monotonic now, const Pid& pid) {
    Text text{{}, now};
    text << static_cast<int>(m.step_) << m.new_name() << pid(m.options_.old_pid) << pid(m.outcome_.pid) << m.failures_;
    text << (m.cause_ ? 1 : 0) << (m.died_ ? 1 : 0) << (m.outcome_.error ? 1 : 0) << (m.outcome_.old_ended ? 1 : 0);
    text << (m.outcome_.old_mute ? 1 : 0);
    text << static_cast<int>(m.outcome_.kind) << m.idle_counts_ << (m.old_ ? 1 : 0);
    const bool timed = m.step_ == HandOver::Step::kWarming || m.step_ == HandOver::Step::kCanary ||
                       m.step_ == HandOver::Step::kDraining;
    if (timed) text.age(m.deadline_, std::chrono::milliseconds(0));
    return text.out;
  }
};

}  // namespace hawser::proxy
