// SPDX-License-Identifier: Apache-2.0
#include "snapshot_keeper.h"

#include <malloc.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "status/time_text.h"
#include "xds/types.h"

namespace hawser {
namespace {

using nlohmann::json;
namespace snapshot = xds::snapshot;

constexpr char kItem[] = "snapshot";
// A proxy that never settles isn't waited for: what it has accepted is better than what it accepted long ago.
constexpr int kMostUnsettled = 10;
constexpr int kShareOfTime = 20;
constexpr std::chrono::seconds kRetry{10};
constexpr std::chrono::seconds kRetryTooLarge{60};
constexpr std::size_t kWorthTrimming = std::size_t{1} << 20;

// What no listener, cluster or route refers to may be lost alone.
bool depended_on(const std::string& type) {
  return xds::forwardable(type) && type != xds::kWorkloadType;
}

std::string age_text(Loop::Duration age) {
  const auto seconds = std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(age).count());
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 2 * 3600) return std::to_string(seconds / 60) + " min";
  return std::to_string(seconds / 3600) + " h";
}

}  // namespace

SnapshotKeeper::SnapshotKeeper(Loop& loop, SlowWorker& slow, Metrics& metrics, HealthSink& health, Options options)
    : loop_(loop),
      slow_(slow),
      metrics_(metrics),
      health_(health),
      options_(std::move(options)),
      store_(options_.folder, options_.max_bytes, [&loop] { return loop.wall(); }) {}

SnapshotKeeper::~SnapshotKeeper() = default;

void SnapshotKeeper::load() {
  if (!options_.enabled) {
    state_ = State::kNone;
    return;
  }
  // Before the control plane's item: where both are degraded, the first one is the one that people read.
  health_.report(kItem, HealthState::kOk, "none yet", nullptr);
  slow_.submit([this, alive = std::weak_ptr<bool>(alive_), store = store_] {
    auto result = std::make_shared<snapshot::Store::Loaded>(store.load());
    loop_.post([this, alive, result] {
      if (!alive.expired()) loaded(std::move(*result));
    });
  });
}

void SnapshotKeeper::loaded(snapshot::Store::Loaded loaded) {
  for (const auto& note : loaded.notes) {
    log::warn(note.to_string());
    health_.report(kItem, HealthState::kDegraded, note.message(), &note);
  }
  state_ = State::kNone;
  if (loaded.manifest) {
    unusable_ = judge(loaded);
    state_ = unusable_ ? State::kUnusable : State::kUsable;
    if (!unusable_) types_ = std::move(loaded.types);
    manifest_ = std::move(*loaded.manifest);
    if (manifest_.node_identity == options_.node_identity) confirmed_plan_ = manifest_.confirmed_plan;
    if (!unusable_ && loaded.notes.empty()) show_kept();
  }
  if (plane_) {
    state_ = State::kReplaced;
    types_.clear();
  } else if (due_) {
    decide();
  }
}

std::optional<Error> SnapshotKeeper::judge(const snapshot::Store::Loaded& loaded) const {
  const auto& manifest = *loaded.manifest;
  const std::string from = status::utc_text(manifest.as_of);
  if (manifest.node_identity != options_.node_identity)
    return Error(Code::kFailedPrecondition, "HWS-SN-004",
                 "the last-good snapshot is another host's: " + manifest.node_identity,
                 "none; the control plane's next answer takes its place");
  if (loop_.wall() - manifest.as_of > options_.max_age)
    return Error(Code::kFailedPrecondition, "HWS-SN-003", "the last-good snapshot of " + from + " is too old",
                 "see why the control plane isn't reachable; or raise control_plane.snapshot.max_age");
  for (const auto& type : loaded.lost)
    if (depended_on(type))
      return Error(
          Code::kDataLoss, "HWS-SN-002",
          "the last-good snapshot can't be used without its " + xds::short_name(type) + " file, which is damaged",
          "look at the disk; the next snapshot takes its place by itself");
  if (manifest.confirmed_plan != options_.plan)
    return Error(Code::kFailedPrecondition, "HWS-SN-007",
                 manifest.confirmed_plan.empty()
                     ? "the last-good snapshot isn't used: interception was never confirmed by a control plane"
                     : "the last-good snapshot isn't used: what is to be intercepted has changed since",
                 "it's confirmed by itself when the control plane works");
  return std::nullopt;
}

void SnapshotKeeper::begin(Source source, std::function<void(const std::string&)> take_over) {
  source_ = std::move(source);
  take_over_ = std::move(take_over);
  if (!options_.enabled) return;
  head_start_ = loop_.after(options_.head_start, [this] {
    due_ = true;
    if (state_ != State::kLoading) decide();
  });
  arm_refresh();
}

void SnapshotKeeper::arm_refresh() {
  refresh_ = loop_.after(options_.refresh, [this] {
    if (plane_) schedule(Loop::Duration::zero());
    arm_refresh();
  });
}

void SnapshotKeeper::decide() {
  if (plane_) return;
  if (unusable_) {
    log::warn(unusable_->to_string());
    health_.report(kItem, HealthState::kDegraded, unusable_->message(), &*unusable_);
  }
  if (state_ != State::kUsable) return;
  source_.restore(std::exchange(types_, {}), [this, alive = std::weak_ptr<bool>(alive_)](bool restored) {
    if (!alive.expired() && restored && state_ == State::kUsable) serve();
  });
}

void SnapshotKeeper::serve() {
  state_ = State::kServing;
  metrics_.set("hawser_snapshot_serving", "1 while the last-good snapshot takes the control plane's place", {}, 1);
  show_serving();
  take_over_("the last good configuration of " + status::utc_text(manifest_.as_of) + " is served");
}

void SnapshotKeeper::show_serving() {
  const Error error(Code::kUnavailable, "HWS-SN-001",
                    "serving last good from " + status::utc_text(manifest_.as_of) + " (" +
                        age_text(loop_.wall() - manifest_.as_of) + " old)",
                    "see the item control-plane");
  health_.report(kItem, HealthState::kDegraded, error.message(), &error);
  show_ = loop_.after(options_.show, [this] { show_serving(); });
}

void SnapshotKeeper::show_kept() {
  health_.report(kItem, HealthState::kOk, "last good is of " + status::utc_text(manifest_.as_of), nullptr);
  metrics_.set("hawser_snapshot_as_of_seconds", "Unix time at which a control plane last agreed with the snapshot", {},
               std::chrono::duration<double>(manifest_.as_of.time_since_epoch()).count());
  metrics_.set("hawser_snapshot_bytes", "Size of the last-good snapshot on disk", {},
               static_cast<double>(manifest_.bytes()));
}

void SnapshotKeeper::on_plane(bool connected) {
  if (!connected) {
    if (!std::exchange(plane_, false)) return;
    seen_ = loop_.wall();
    if (!known_.empty()) schedule(Loop::Duration::zero());
    return;
  }
  plane_ = true;
  head_start_.reset();
  show_.reset();
  types_.clear();
  if (state_ == State::kServing) {
    log::info("the control plane is back and takes over from the last good configuration");
    metrics_.set("hawser_snapshot_serving", "1 while the last-good snapshot takes the control plane's place", {}, 0);
    show_kept();
  }
  if (state_ != State::kLoading) state_ = State::kReplaced;
}

void SnapshotKeeper::on_accepted() {
  if (options_.enabled) schedule(options_.settle);
}

void SnapshotKeeper::on_confirmed() {
  if (confirmed_plan_ == options_.plan) return;
  confirmed_plan_ = options_.plan;
  if (options_.enabled) schedule(options_.settle);
}

bool SnapshotKeeper::confirmed_before() const {
  return !confirmed_plan_.empty() && confirmed_plan_ == options_.plan;
}

void SnapshotKeeper::schedule(Loop::Duration after) {
  if (save_) return;
  const auto at = std::max(loop_.now() + after, not_before_);
  save_ = loop_.after(at - loop_.now(), [this] {
    save_.reset();
    collect();
  });
}

void SnapshotKeeper::collect() {
  if (saving_) {
    again_ = true;
    return;
  }
  saving_ = true;
  source_.accepted(known_, [this, alive = std::weak_ptr<bool>(alive_)](xds::Relay::Accepted accepted) {
    if (alive.expired()) return;
    saving_ = false;
    if (accepted.serves_snapshot || accepted.revisions.empty()) return;
    if (!accepted.settled && ++unsettled_ < kMostUnsettled) return schedule(options_.settle);
    unsettled_ = 0;
    write(std::move(accepted));
  });
}

void SnapshotKeeper::write(xds::Relay::Accepted accepted) {
  saving_ = true;
  const snapshot::Manifest next{options_.node_identity, confirmed_plan_, plane_ ? loop_.wall() : seen_, 0, {}};
  auto change = std::make_shared<snapshot::Store::Change>();
  change->changed = std::move(accepted.changed);
  for (auto& type : change->changed) type.header.node_identity = options_.node_identity;
  for (const auto& [type, revision] : accepted.revisions) {
    const bool changed = std::any_of(change->changed.begin(), change->changed.end(),
                                     [&, &url = type](const auto& item) { return item.header.type_url == url; });
    if (!changed) change->unchanged.push_back(type);
  }
  slow_.submit([this, alive = std::weak_ptr<bool>(alive_), store = store_, before = manifest_, next, change,
                revisions = std::move(accepted.revisions), begun = loop_.now()]() mutable {
    auto result = std::make_shared<Result<snapshot::Manifest>>(store.save(before, next, *change));
    std::size_t bytes = 0;
    for (const auto& type : change->changed)
      for (const auto& item : type.items) bytes += item.body.size();
    change.reset();
    // What the proxy no longer has was kept for the file, past the time when the relay gave memory back.
    if (bytes > kWorthTrimming) ::malloc_trim(0);
    loop_.post([this, alive, result, revisions = std::move(revisions), begun] {
      if (!alive.expired()) written(*result, revisions, loop_.now() - begun);
    });
  });
}

void SnapshotKeeper::written(const Result<snapshot::Manifest>& result, std::map<std::string, std::uint64_t> revisions,
                             Loop::Duration took) {
  saving_ = false;
  not_before_ = loop_.now() + std::max<Loop::Duration>(options_.least_gap, took * kShareOfTime);
  metrics_.add("hawser_snapshot_saves_total", "Times that the last-good snapshot was written",
               {{"result", result ? "ok" : "failed"}});
  if (!result) {
    log::warn(result.error().to_string());
    health_.report(kItem, HealthState::kDegraded, result.error().message(), &result.error());
    return schedule(result.error().id() == "HWS-SN-005" ? kRetryTooLarge : kRetry);
  }
  manifest_ = *result;
  known_ = std::move(revisions);
  if (state_ != State::kServing) show_kept();
  arm_refresh();
  if (std::exchange(again_, false)) schedule(options_.settle);
}

void SnapshotKeeper::erase(std::function<void(Status)> done) {
  stop();
  slow_.submit([&loop = loop_, store = store_, done = std::move(done)] {
    auto erased = std::make_shared<Status>(store.erase());
    loop.post([erased, done] { done(*erased); });
  });
}

void SnapshotKeeper::stop() {
  alive_.reset();
  head_start_.reset();
  save_.reset();
  refresh_.reset();
  show_.reset();
}

json SnapshotKeeper::describe() const {
  const bool serving = state_ == State::kServing;
  json out = {{"enabled", options_.enabled}, {"serving", serving}, {"bytes", manifest_.bytes()}};
  if (manifest_.types.empty()) return out;
  out["as_of"] = status::utc_text(manifest_.as_of);
  out["age_seconds"] = std::chrono::duration_cast<std::chrono::seconds>(loop_.wall() - manifest_.as_of).count();
  out["confirmed"] = confirmed_before();
  out["types"] = json::array();
  for (const auto& type : manifest_.types)
    out["types"].push_back({{"type", type.type_url},
                            {"resources", type.resources},
                            {"bytes", type.bytes},
                            {"accepted_at", status::utc_text(type.accepted_at)}});
  return out;
}

}  // namespace hawser
