// SPDX-License-Identifier: Apache-2.0
#include "drain.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "status/time_text.h"

namespace hawser {
namespace {

using nlohmann::json;
using proxy::HandOverKind;

constexpr auto kItem = "drain";
constexpr auto kLookEvery = std::chrono::milliseconds(500);
constexpr std::size_t kMostCallers = 20;               // that are told
constexpr auto kLookSeldom = std::chrono::seconds(5);  // Envoy goes through all its statistics for it
// A predecessor may drain for 60 s, and `hawser undrain` waits for 120 s.
constexpr auto kBringBack = std::chrono::seconds(75);
constexpr auto kAgain = std::chrono::seconds(1);
constexpr unsigned kTries = 3;  // of 2 s each

// Another restart is under way, or a predecessor still runs.
bool passes(const Error& error) {
  return error.id() == "HWS-PX-020" || error.id() == "HWS-PX-021";
}

// What a hot restart is refused for and a planned cold start isn't; what was tried and failed is no such thing.
bool only_hot_refused(const Error& error) {
  for (const char* known : {"HWS-PX-021", "HWS-PX-022", "HWS-PX-023", "HWS-PX-031", "HWS-PX-037"})
    if (error.id() == known) return true;
  return false;
}

Error left_the_mesh() {
  return {Code::kAborted, "HWS-DR-004", "the host leaves the mesh, and its drain is forgotten", "hawser status"};
}

std::string count_text(std::uint64_t connections) {
  if (connections == 0) return "no caller is connected any more";
  return std::to_string(connections) +
         (connections == 1 ? " connection of callers is open" : " connections of callers are open");
}

}  // namespace

Drain::Drain(Context context, Proxy proxy, Withhold withhold)
    : context_(std::move(context)), proxy_(std::move(proxy)), withhold_(std::move(withhold)) {
  show();
}

void Drain::start() {
  auto kept = DrainRecord::load(context_.path, context_.boot);
  if (!kept) {
    not_kept_ = kept.error();
    ever_ = true;
    return show();
  }
  if (kept->stage == DrainStage::kNone) {
    if (std::error_code ignored; std::filesystem::exists(context_.path, ignored)) keep([] {});  // of an earlier boot
    return;
  }
  record_ = *kept;
  if (listeners_closed()) proxy_.expect_drained(record_.drained);
  heard_at_ = until_ = context_.loop.now();
  log::info("drained, as it was before", {{"stage", drain_stage_name(record_.stage)}});
  take_up(record_.stage);
}

void Drain::take_up(DrainStage stage) {
  ever_ = true;
  record_.stage = std::max(record_.stage, stage);
  if (record_.since_ms == 0)
    record_.since_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(context_.loop.wall().time_since_epoch()).count();
  withhold_(reason());
  show();
  look();
}

std::string Drain::reason() const {
  return record_.stage == DrainStage::kNone ? std::string() : "drained by the operator";
}

// ---- out

void Drain::begin(const Order& order, Done done) {
  if (returning_)
    return done(Error(Code::kAborted, "HWS-DR-004", "an earlier drain is being taken back", "try again in a moment"));
  const auto serving = proxy_.serving();
  if (order.listeners && !serving)
    return done(Error(Code::kFailedPrecondition, "HWS-DR-003", "no proxy is LIVE whose listeners could be drained",
                      "hawser status says why; `hawser drain` without --listeners works at once"));
  record_.boot = order.until_reboot ? context_.boot : std::string();
  const auto now = context_.loop.now();
  until_ = now + order.time.value_or(context_.hear + context_.time);
  if (record_.stage == DrainStage::kNone) heard_at_ = now + context_.hear;
  const bool close = order.listeners && (!listeners_closed() || record_.drained != serving->pid);
  take_up(DrainStage::kWithdrawn);
  if (close) return drain_proxy(*serving, std::move(done));
  keep([this, done = std::move(done)] { done(text()); });
}

// Kept first: a hawserd that finds closed listeners and knows of no drain would replace the proxy.
void Drain::drain_proxy(const Proxy::Serving& serving, Done done, unsigned tries) {
  record_.stage = DrainStage::kListeners;
  record_.drained = serving.pid;
  record_.drained_boot = context_.boot;
  proxy_.expect_drained(serving.pid);
  keep([this, serving, done = std::move(done), tries] {
    proxy_.drain_inbound(serving.generation,
                         [this, alive = std::weak_ptr(alive_), serving, done, tries](const Status& told) {
                           if (alive.expired()) return;
                           // Taken back, or forgotten, while it was waited for.
                           if (returning_ || record_.drained != serving.pid)
                             return done(told ? Result<std::string>(text()) : Result<std::string>(told.error()));
                           if (!told && told.error().code() == Code::kDeadlineExceeded && tries < kTries)
                             return drain_proxy(serving, done, tries + 1);  // a second time does no harm
                           if (!told) return not_drained(told.error(), done);
                           log::info("inbound listeners drain", {{"generation", serving.generation}});
                           show();
                           done(text());
                         });
  });
}

// The first stage stands. Who gave no answer may do it all the same, so that it stays excused.
void Drain::not_drained(const Error& error, Done done) {
  record_.stage = DrainStage::kWithdrawn;
  record_.drained = 0;
  if (error.code() != Code::kDeadlineExceeded) proxy_.expect_drained(0);
  keep([error, done = std::move(done)] { done(error); });
}

// A proxy that came after the drain takes callers, until it's told as well.
void Drain::on_serving() {
  const auto serving = proxy_.serving();
  if (back_ && serving && serving->pid != left_) return another_serves(std::exchange(back_, nullptr));
  if (back_ && serving && !again_) return bring_back(HandOverKind::kHotRestart, std::exchange(back_, nullptr));
  if (!listeners_closed() || returning_ || !serving || serving->pid == record_.drained) return;
  drain_proxy(*serving, [](const Result<std::string>& told) {
    if (!told) log::warn("another proxy can't be drained", {{"error", told.error().to_string()}});
  });
}

void Drain::keep(std::function<void()> then) {
  context_.slow.submit([this, alive = std::weak_ptr(alive_), record = record_, path = context_.path,
                        then = std::move(then), &loop = context_.loop] {
    const Status saved = record.save(path);
    loop.post([this, alive, saved, then] {
      if (alive.expired()) return;
      not_kept_.reset();
      if (!saved)
        not_kept_ = Error(Code::kInternal, "HWS-DR-002",
                          "the drain can't be kept, so a restart of hawserd takes it back: " + saved.error().message(),
                          "make room in " + context_.path + "'s folder, and drain again");
      show();
      then();
    });
  });
}

// ---- back

void Drain::end(Done done) {
  if (returning_)
    return done(Error(Code::kAborted, "HWS-DR-004", "the drain is being taken back already", "hawser status"));
  // What can't be read is taken away as well.
  if (record_.stage == DrainStage::kNone && !not_kept_) return done(text());
  if (!listeners_closed()) return taken_back(std::move(done));
  // What is kept stays until another one serves: a hawserd that dies before leaves a drain that stands.
  returning_ = true;
  left_ = record_.drained;
  give_up_ = context_.loop.now() + kBringBack;
  bring_back(HandOverKind::kHotRestart, std::move(done));
}

// Of the three hot restart is the one that takes over what is left of a drained proxy: its outbound listeners.
void Drain::bring_back(HandOverKind kind, Done done) {
  if (const auto serving = proxy_.serving(); serving && serving->pid != left_) return another_serves(std::move(done));
  proxy_.restart(kind, [this, alive = std::weak_ptr(alive_), kind, done = std::move(done)](const Status& restarted) {
    if (alive.expired()) return;
    if (!returning_) return done(left_the_mesh());
    const auto serves = proxy_.serving();
    if (restarted && (!serves || serves->pid != left_)) return another_serves(done);
    if (restarted) return not_brought_back(Error(Code::kAborted, "HWS-PX-020", "it's the one that was drained"), done);
    if (kind == HandOverKind::kPlannedCold || !only_hot_refused(restarted.error()))
      return not_brought_back(restarted.error(), done);
    log::info("no hot restart brings drained listeners back", {{"cause", restarted.error().to_string()}});
    bring_back(HandOverKind::kPlannedCold, done);
  });
}

void Drain::another_serves(Done done) {
  again_.reset();
  proxy_.expect_drained(0);
  taken_back(std::move(done));
}

// As long as the one that was drained runs, own programs have it, and may not lose it for one that couldn't serve.
void Drain::not_brought_back(const Error& error, Done done) {
  const auto serving = proxy_.serving();
  if (serving && serving->pid != left_) return another_serves(std::move(done));
  // It's gone, or a hawserd that has just started hasn't seen it LIVE yet: on_serving() tells which.
  if (!serving) {
    back_ = std::move(done);
    return;
  }
  if (passes(error) && context_.loop.now() < give_up_) {
    back_ = std::move(done);
    again_ = context_.loop.after(kAgain, [this] {
      again_.reset();
      if (back_) bring_back(HandOverKind::kHotRestart, std::exchange(back_, nullptr));
    });
    return;
  }
  returning_ = false;
  left_ = 0;
  done(Error(error.code(), "HWS-DR-006",
             "the listeners stay drained, for no other proxy could serve: " + error.message() + " [" + error.id() + "]",
             "own programs still have the proxy that runs; hawser undrain again, after: " + error.hint()));
}

void Drain::taken_back(Done done) {
  returning_ = false;
  left_ = 0;
  record_ = {};
  timer_.reset();
  open_.reset();
  callers_.clear();
  keep([this, done = std::move(done)] {
    if (record_.stage != DrainStage::kNone) return done(text());  // drained again meanwhile
    withhold_({});
    log::info("the drain is taken back");
    done(text());
  });
}

void Drain::forget() {
  record_ = {};
  returning_ = false;
  left_ = 0;
  again_.reset();
  if (back_) std::exchange(back_, nullptr)(left_the_mesh());
  timer_.reset();
  keep([] {});
}

// ---- what is left

void Drain::look() {
  // Twice a second as long as somebody may wait for it.
  const bool over = context_.loop.now() >= until_;
  timer_ = context_.loop.after(over ? Loop::Duration(kLookSeldom) : Loop::Duration(kLookEvery), [this] { look(); });
  const auto serving = proxy_.serving();
  if (!serving) return;
  proxy_.connections(serving->generation, [this, alive = std::weak_ptr(alive_)](const auto& seen) {
    if (!alive.expired() && record_.stage != DrainStage::kNone) looked(seen);
  });
}

void Drain::looked(const Result<std::vector<proxy::ListenerConnections>>& seen) {
  if (!seen) return;
  const bool known = open_.has_value();
  const auto before = inbound();
  open_ = *seen;
  look_at_callers();
  if (!known || (before > 0 && inbound() == 0)) log::info("draining", {{"of_callers", std::to_string(inbound())}});
  show();
}

void Drain::look_at_callers() {
  std::set<std::uint16_t> ports;
  for (const auto& item : *open_)
    if (item.inbound && item.connections > 0) ports.insert(proxy::listener_port(item.listener));
  if (ports.empty()) return callers_.clear();
  // The kernel goes through all its connections for it.
  context_.slow.submit([this, alive = std::weak_ptr(alive_), callers = proxy_.callers, ports, &loop = context_.loop] {
    loop.post([this, alive, seen = callers(ports)] {
      if (!alive.expired() && open_ && seen) callers_.note(*seen, context_.loop.now());
    });
  });
}

json Drain::holding() const {
  json out = json::array();
  for (const auto& known : callers_.oldest(kMostCallers)) {
    auto one = proxy::peer_json(known.peer);
    const auto seen_for = std::chrono::duration_cast<std::chrono::milliseconds>(context_.loop.now() - known.since);
    one["seen_for_ms"] = seen_for.count();
    out.push_back(std::move(one));
  }
  return out;
}

std::uint64_t Drain::inbound() const {
  std::uint64_t sum = 0;
  if (open_)
    for (const auto& item : *open_) sum += item.inbound ? item.connections : 0;
  return sum;
}

void Drain::show() {
  context_.metrics.set("hawser_draining", "The operator's drain: 0 none, 1 withdrawn, 2 listeners drained too", {},
                       static_cast<int>(record_.stage));
  context_.metrics.set("hawser_drain_connections", "Connections of callers that a drain waits for", {},
                       static_cast<double>(inbound()));
  if (not_kept_) return context_.health.report(kItem, HealthState::kDegraded, not_kept_->message(), &*not_kept_);
  if (record_.stage == DrainStage::kNone) {
    if (ever_) context_.health.report(kItem, HealthState::kOk, "not drained", nullptr);
    return;
  }
  std::string detail = "drained by the operator, callers are sent elsewhere";
  if (listeners_closed()) detail += ", inbound listeners are drained";
  if (open_) detail += "; " + count_text(inbound());
  const Error error(Code::kUnavailable, "HWS-DR-001", detail, "hawser undrain, when the work on this host is done");
  context_.health.report(kItem, HealthState::kDegraded, detail, &error);
}

std::string Drain::text() const {
  return describe().dump(-1, ' ', false, json::error_handler_t::replace);
}

json Drain::describe() const {
  json out = {{"stage", drain_stage_name(record_.stage)}};
  if (record_.stage == DrainStage::kNone) return out;
  out["since"] = status::utc_text(Loop::Wall(std::chrono::milliseconds(record_.since_ms)));
  out["until_reboot"] = !record_.boot.empty();
  out["kept"] = !not_kept_.has_value();
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until_ - context_.loop.now());
  out["left_ms"] = std::max<std::int64_t>(left.count(), 0);
  if (!open_) return out;
  json listeners = json::array();
  std::uint64_t outbound = 0;
  for (const auto& item : *open_) {
    if (!item.inbound) outbound += item.connections;
    if (item.connections > 0)
      listeners.push_back({{"listener", item.listener}, {"connections", item.connections}, {"inbound", item.inbound}});
  }
  out["connections"] = inbound();
  out["drained"] = inbound() == 0 && context_.loop.now() >= std::min(heard_at_, until_);
  out["outbound"] = outbound;
  out["listeners"] = std::move(listeners);
  out["peers"] = holding();
  return out;
}

}  // namespace hawser
