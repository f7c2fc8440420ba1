// SPDX-License-Identifier: Apache-2.0
#include "lifecycle.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/log.h"

namespace hawser {
namespace {

constexpr std::array<std::string_view, kEventCount> kNames = {
    "CONFIGURED",  "PREFLIGHT_OK", "IDENTITY_READY", "CONTROL_PLANE_CONNECTED",
    "PROXY_READY", "INTERCEPTING", "REGISTERED"};
constexpr std::size_t kMaxWaiters = 64;

std::size_t index_of(Event event) {
  return static_cast<std::size_t>(event);
}

}  // namespace

std::string_view event_name(Event event) {
  return kNames[index_of(event)];
}

std::optional<Event> event_of(std::string_view name) {
  for (std::size_t i = 0; i < kEventCount; ++i)
    if (kNames[i] == name) return static_cast<Event>(i);
  return std::nullopt;
}

Lifecycle::Lifecycle(Loop& loop, Metrics& metrics) : loop_(loop), metrics_(metrics), start_(loop.now()) {}

void Lifecycle::restart() {
  start_ = loop_.now();
  reached_ = {};
  changed_();
}

void Lifecycle::reach(Event event) {
  const std::size_t index = index_of(event);
  if (reached(event)) return;
  assert(index == 0 || reached_[index - 1]);
  reached_[index] = Reached{event, loop_.wall(), loop_.now() - start_, {}};
  const double seconds = std::chrono::duration<double>(reached_[index]->since_start).count();
  metrics_.set("hawser_lifecycle_event_seconds", "Seconds from start to the event; -1 when it does not hold",
               {{"event", std::string(kNames[index])}}, seconds);
  log::info(
      "reached " + std::string(kNames[index]),
      {{"after_ms",
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(reached_[index]->since_start).count())}});
  changed_();
  wake();
}

void Lifecycle::pass_over(Event event, const std::string& reason) {
  const std::size_t index = index_of(event);
  if (reached_[index]) return;
  assert(index == 0 || reached_[index - 1]);
  reached_[index] = Reached{event, loop_.wall(), loop_.now() - start_, reason};
  log::info("passed over " + std::string(kNames[index]), {{"reason", reason}});
  changed_();
}

void Lifecycle::lose(Event event, const std::string& reason) {
  for (std::size_t i = kEventCount; i-- > index_of(event);) {
    if (!reached_[i]) continue;
    reached_[i].reset();
    metrics_.set("hawser_lifecycle_event_seconds", "Seconds from start to the event; -1 when it does not hold",
                 {{"event", std::string(kNames[i])}}, -1);
    log::info("left " + std::string(kNames[i]), {{"reason", reason}});
  }
  changed_();
}

bool Lifecycle::reached(Event event) const {
  const auto& entry = reached_[index_of(event)];
  return entry && entry->passed_over.empty();
}

std::optional<Event> Lifecycle::last() const {
  for (std::size_t i = kEventCount; i-- > 0;)
    if (reached(static_cast<Event>(i))) return static_cast<Event>(i);
  return std::nullopt;
}

std::vector<Lifecycle::Reached> Lifecycle::history() const {
  std::vector<Reached> out;
  for (const auto& item : reached_)
    if (item) out.push_back(*item);
  return out;
}

void Lifecycle::wait(Event event, Loop::Duration timeout, std::function<void(bool)> done) {
  if (reached(event)) return done(true);
  if (waiters_.size() >= kMaxWaiters) return done(false);
  auto waiter = std::make_shared<Waiter>();
  waiter->event = event;
  waiter->done = std::move(done);
  waiter->timer = loop_.after(timeout, [this, weak = std::weak_ptr<Waiter>(waiter)] {
    auto expired = weak.lock();
    if (!expired) return;
    std::erase(waiters_, expired);
    expired->done(false);
  });
  waiters_.push_back(std::move(waiter));
}

void Lifecycle::wake() {
  std::vector<std::shared_ptr<Waiter>> due;
  for (const auto& waiter : waiters_)
    if (reached(waiter->event)) due.push_back(waiter);
  for (const auto& waiter : due) {
    std::erase(waiters_, waiter);
    waiter->timer.reset();
    waiter->done(true);
  }
}

}  // namespace hawser
