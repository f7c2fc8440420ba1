// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "broker/client.h"
#include "netfilter/intent.h"

namespace hawser {

// What: hawserd's side of interception: asks the broker for the plan that the configuration and the bound listeners
// call for, looks at the probes, confirms, and has the failure policy applied when the proxy stays away. Threading: on
// the loop. Failure: reported as the health item "interception" and tried again with back-off; the broker withdraws by
// itself what isn't confirmed. The rules go with the broker; so they are looked at every two seconds, and applied anew
// when they are gone. An operator may apply other settings, or try them: then only the operator confirms, and the
// broker goes back by itself. Metrics: hawser_interception_active, hawser_interception_applies_total{result},
// hawser_interception_fail_open_total, hawser_interception_fail_closed_total, hawser_interception_lost_total,
// hawser_interception_drift_found_total, hawser_interception_drift_healed_total, hawser_interception_drift_backing_off.
class Interception {
 public:
  struct Listeners {
    bool ipv4 = false;
    bool ipv6 = false;
  };
  struct Options {
    netfilter::Intent intent;  // with both families; what has no listener is left out
    std::chrono::seconds confirm{30};
    std::chrono::seconds revive{
        10};  // how long captured traffic waits for a dead proxy; then the failure policy applies
    // By default inbound is refused, because nobody would check who calls; outbound goes direct, because the host has
    // to work.
    bool inbound_closed = true;
    bool outbound_closed = false;
    std::chrono::seconds max_open{0};  // what is open is closed after that, by the broker; 0: it stays open
  };

  Interception(Loop& loop, broker::BrokerClient& broker, Metrics& metrics, HealthSink& health, Options options);
  ~Interception();

  struct Events {
    std::function<bool()> may_confirm;                    // does the control plane work?
    std::function<bool()> may_apply;                      // false: what isn't in force stays so
    std::function<bool()> as_it_is;                       // leave what is in force and confirmed unprobed
    std::function<void()> active;                         // in force, probed and confirmed
    std::function<void(const std::string& reason)> lost;  // no longer in force
  };
  void apply(Listeners listeners, Events events);
  // The proxy died: what it captured is refused meanwhile; after Options::revive the failure policy applies.
  void proxy_down();
  using Answer = std::function<void(Result<nlohmann::json>)>;
  struct Wish {
    Options settings;
    std::chrono::seconds revert{0};  // 0: confirmed by ourselves, as after a start
    std::string ssh_connection;      // of who asks, as sshd tells it; may be empty
    bool takeover = false;           // another mesh's rules are replaced, also while they keep ours out
  };
  // HWS-IC-005: there is no proxy. A failure leaves in force what was.
  void apply_settings(Wish wish, Answer done);
  // What is being tried stays. HWS-IC-006: nothing is.
  void confirm_tried(Answer done);
  // New connections go direct, until apply_settings() or the next start; old ones live on for at most `time`.
  void drain(std::chrono::seconds time, Answer done);
  // Takes the rules out; established connections drain.
  void remove(std::function<void(Status)> done);
  void observe(std::function<void(Result<nlohmann::json>)> done);
  // Lets go of pending work without touching the rules.
  void stop();

  std::string state() const;

 private:
  enum class State { kNone, kApplying, kActive, kTrying, kFailedOpen, kDrained, kRemoved };
  // What an operator asked for, and who waits for it.
  struct Tried {
    Options settings;
    std::string digest;
  };

  void begin();
  void begin_try();
  void resume_try(const std::string& digest);
  void operators_plan(const Wish& wish, const Answer& done, const broker::v1::Response& response);
  bool end_try(const broker::v1::Response& seen);
  void keep_confirmed(const Error& refused);
  void count_drift(const broker::v1::Response& seen);
  void put_off();
  void send_plan();
  void on_plan(const broker::v1::Response& response);
  void confirm(const std::string& digest, int attempts);
  void confirmed();
  void watch();
  void look();
  void lost(const Error& error);
  void retry(const Error& error);
  void fail();
  void show_failed(bool time_is_over);
  broker::v1::Request plan_request(const Options& settings) const;
  std::string dns_state() const;

  Loop& loop_;
  broker::BrokerClient& broker_;
  Metrics& metrics_;
  HealthSink& health_;
  Options options_;
  Backoff backoff_;
  State state_ = State::kNone;
  Listeners listeners_;
  std::string dns_state_;  // when the plan was sent
  Events events_;
  Tried tried_;
  Answer applied_;  // of an operator who waits for the confirmation
  Options before_;
  bool open_ = false;              // in kFailedOpen: a direction goes direct
  bool missed_ = false;            // the last look found nothing in force
  std::uint64_t drift_found_ = 0;  // of the broker that runs
  std::uint64_t drift_healed_ = 0;
  std::unique_ptr<Loop::Timer> timer_;
  std::unique_ptr<Loop::Timer> revive_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser
