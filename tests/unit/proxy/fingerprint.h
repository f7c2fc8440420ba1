// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <csignal>
#include <functional>
#include <initializer_list>
#include <string>

#include "proxy/hand_over.h"
#include "proxy/supervision.h"

namespace hawser::proxy {

// What: the state of a machine as a text, for the exploration: two that answer alike to whatever comes have the same
// one. So it holds what decides, and no more: a time only where the phase looks at it, as an age that is no older than
// what it's compared with; a count no higher than its limit; pids as what `pid` makes of them. What only words tell
// (reports, gates, how long something took) isn't in it. Nor are the crash budget's times and what it calls good: the
// worlds of the exploration give it no time to pass, and have one binary.
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
    // Until then, or that it's over.
    void left(Monotonic until) {
      const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(until - now);
      *this << std::max<std::int64_t>(rest.count(), 0) / 100;
    }
  };

  static std::string of(const Supervision& m, Monotonic now, const Pid& pid) {
    Text text{{}, now};
    text << static_cast<int>(m.phase_) << m.facts_.generation << pid(m.facts_.pid) << m.elder_;
    text << bits({m.facts_.adopted, m.stopping_, m.first_look_, m.replaceable_, m.unasked_, m.leftover_, m.hung_});
    for (const auto& [name, beside] : m.retired_) text << name << (beside ? 1 : 0);
    text << static_cast<long long>(m.budget_.ends_.size()) << m.budget_.quick_;
    if (m.stopping_) text << m.drain_.count();
    phase(m, text);
    return text.out;
  }

  static std::string of(const HandOver& m, Monotonic now, const Pid& pid) {
    Text text{{}, now};
    text << static_cast<int>(m.step_) << m.new_name() << pid(m.options_.old_pid) << pid(m.outcome_.pid) << m.failures_;
    text << static_cast<int>(m.outcome_.kind) << m.idle_counts_;
    text << bits({m.died_, m.outcome_.old_ended, m.outcome_.old_mute, m.old_.has_value(), m.old_inspection_.has_value(),
                  m.options_.request.kind.has_value(), m.outcome_.probe.ready, m.held_, m.vetted_});
    for (const auto& error : {m.cause_, m.outcome_.error}) text << (error ? error->id() : std::string());
    const bool timed = m.step_ == HandOver::Step::kSnapshot || m.step_ == HandOver::Step::kWarming ||
                       m.step_ == HandOver::Step::kVetting || m.step_ == HandOver::Step::kCanary ||
                       m.step_ == HandOver::Step::kDraining;
    if (timed) text.left(m.deadline_);
    text << (m.outcome_.old_hung ? 1 : 0);
    if (m.step_ == HandOver::Step::kWarming && m.is(HandOverKind::kHotRestart)) {
      text << m.old_silent_;
      text.age(m.old_answered_, m.options_.wedge_after);
    }
    return text.out;
  }

 private:
  static long long bits(std::initializer_list<bool> all) {
    long long out = 0;
    for (const bool bit : all) out = out * 2 + (bit ? 1 : 0);
    return out;
  }

  static void phase(const Supervision& m, Text& text) {
    switch (m.phase_) {
      case Phase::kWarming:
        text << m.lost_gates_;
        text.age(m.warm_since_, m.options_.start_timeout);
        text.age(m.closed_since_, kSettle);
        text.age(m.mute_since_, m.options_.start_timeout);
        if (!m.retired_.empty()) text.age(m.live_without_since_, kSettle);
        return;
      case Phase::kLive:
      case Phase::kHandingOver:
        text << m.lost_gates_ << std::min(m.failures_, Supervision::kPatience);
        text << (m.data_asked_ ? 1 : 0) << std::min(m.data_failures_, 2U);
        text.age(m.sign_of_life_, m.options_.wedge_after);
        if (!m.retired_.empty()) text.age(m.live_since_, m.options_.parent_shutdown + std::chrono::seconds(10));
        return;
      case Phase::kDraining:
        text << m.failures_ << m.idle_counts_;
        text.left(m.drain_until_);
        return;
      case Phase::kEnding:
        text << m.failures_ << m.signal_;
        return;
      default:
        text << m.failures_;
    }
  }

  static constexpr auto kSettle = std::chrono::seconds(2);
};

}  // namespace hawser::proxy
