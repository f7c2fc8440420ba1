// SPDX-License-Identifier: Apache-2.0
// Which hand-over it is, and what must be true before anything is started.
#include <utility>

#include "proxy/hand_over.h"

namespace hawser::proxy {
namespace {

using hand_over::Deed;

// Both generations hold the whole configuration while the old one drains.
constexpr std::uint64_t kRoomTenths = 12;

std::string megabytes(std::uint64_t bytes) {
  return std::to_string(bytes >> 20U) + " MiB";
}

Error not_now(std::string what, std::string hint) {
  return {Code::kFailedPrecondition, "HWS-PX-021", std::move(what), std::move(hint)};
}

}  // namespace

void HandOver::note(std::string name, const std::string& generation, bool passed, std::string reason, Monotonic now) {
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(now - gate_since_);
  gates_.push_back({std::move(name), generation, passed, std::move(reason), took});
  gate_since_ = now;
}

bool HandOver::gate(std::string name, const std::string& generation, std::optional<Error> error, std::string reason,
                    Monotonic now) {
  note(std::move(name), generation, !error, error ? error->message() : std::move(reason), now);
  if (!error) return true;
  if (options_.request.plan) {
    if (!refusal_) refusal_ = std::move(error);
    return true;
  }
  finish(std::move(error));
  return false;
}

std::optional<Error> HandOver::trouble_with_old(const Result<ProbeResult>& probe) const {
  if (!probe)
    return not_now(old_name() + " can't be asked: " + probe.error().message(),
                   "without its admin interface it can't hand over; hawser proxy restart --hand-over planned-cold "
                   "replaces it all the same");
  if (probe->epoch != options_.old_id.epoch)
    return not_now(old_name() + " says that it is epoch " + std::to_string(probe->epoch), "hawser status");
  if (probe->state != ProxyState::kLive || !probe->ready)
    return not_now(old_name() + " is " + std::string(proxy_state_name(probe->state)) + ", not ready",
                   "only a LIVE proxy can hand over; hawser status says what it lacks");
  return std::nullopt;
}

bool HandOver::seldom_enough(Monotonic now) {
  if (!options_.request.limited || options_.per_hour == 0) return true;
  const std::string counted = std::to_string(options_.recent) + " hand-overs in the last hour";
  std::optional<Error> error;
  if (options_.recent >= options_.per_hour)
    error = Error(Code::kResourceExhausted, "HWS-PX-036",
                  counted + ", and proxy.hand_overs_per_hour is " + std::to_string(options_.per_hour),
                  "find out who asks for so many (hawser proxy history), or raise it; 0 is without a limit");
  return gate("rate", old_name(), std::move(error), counted + " of at most " + std::to_string(options_.per_hour), now);
}

// Side by side costs nothing if it's called off; the proxy's own protocol has a point of no return, and leaves marks.
// But it closes sockets, where hot restart passes them on: on a busy host somebody may wait there.
bool HandOver::choose_by_itself(const std::string& unshared, Monotonic now) {
  const bool side = unshared.empty() && options_.can.side_by_side;
  if (!options_.can.hot_restart && !side) {
    const std::string why = "this kind of proxy can't be hot-restarted" + (unshared.empty() ? "" : ", and " + unshared);
    take(HandOverKind::kPlannedCold, why);
    if (options_.cold_allowed) return true;
    return gate("capability", old_name(),
                Error(Code::kFailedPrecondition, "HWS-PX-037", why,
                      "--hand-over planned-cold (connections are refused for under a second), or proxy.auto_cold"),
                "", now);
  }
  if (!options_.can.hot_restart)
    take(HandOverKind::kSideBySide, "this kind of proxy can't be hot-restarted");
  else if (!options_.can.side_by_side)
    take(HandOverKind::kHotRestart, "this kind of proxy can't run side by side with another");
  else if (!side)
    take(HandOverKind::kHotRestart, "not every listener can be shared: " + unshared);
  else if (options_.queues_move)
    take(HandOverKind::kSideBySide, "every listener can be shared, and whoever waits at one that closes is moved");
  else if (options_.old_id.epoch >= GenerationId::kMaxEpoch)
    take(HandOverKind::kSideBySide, "epoch " + std::to_string(options_.old_id.epoch) + " is the last one of a family");
  else
    take(HandOverKind::kHotRestart,
         "a listener that closes resets who waits at it (net.ipv4.tcp_migrate_req is 0), one that is passed on "
         "doesn't");
  return true;
}

bool HandOver::choose(Monotonic now) {
  const std::string unshared = old_inspection_ ? old_inspection_->unshared : "what it listens on can't be asked for";
  if (!options_.request.kind && !choose_by_itself(unshared, now)) return false;
  if (is(HandOverKind::kPlannedCold)) return true;
  if (!(is(HandOverKind::kSideBySide) ? options_.can.side_by_side : options_.can.hot_restart))
    return gate("capability", old_name(),
                Error(Code::kFailedPrecondition, "HWS-PX-037",
                      "this kind of proxy can't hand over by " + std::string(hand_over_name(outcome_.kind)),
                      "--hand-over auto chooses among what it can"),
                "", now);
  if (is(HandOverKind::kSideBySide)) {
    std::optional<Error> error;
    if (!unshared.empty())
      error = Error(Code::kFailedPrecondition, "HWS-PX-030", "two proxies can't listen side by side: " + unshared,
                    "--hand-over hot-restart, or auto, which chooses by itself");
    return gate("shareable", old_name(), std::move(error), "every listener has reuse_port", now) && room_for_two(now);
  }
  if (options_.old_id.epoch >= GenerationId::kMaxEpoch)
    return gate("epoch", old_name(),
                not_now("epoch " + std::to_string(options_.old_id.epoch) + " is the last one of a family",
                        "--hand-over side-by-side, or planned-cold, begins another family"),
                "", now);
  if (old_->initializing) {
    if (options_.request.plan) {
      note("mark", old_name(), false, "an attempt that was cut off has left its mark; it would be taken out", now);
      return hot_restart_fits(now);
    }
    enter(Step::kRepairing);
    act(Deed::kRepair);
    return false;
  }
  note("mark", old_name(), true, "no attempt was cut off", now);
  return hot_restart_fits(now);
}

// Where hot restart was chosen and can't be.
bool HandOver::fall_back(const std::string& why, Back to) {
  if (options_.request.kind) return false;
  const bool shared = old_inspection_ && old_inspection_->unshared.empty() && options_.can.side_by_side;
  if (!shared && (to == Back::kSideBySide || !options_.cold_allowed)) return false;
  workers_ = 0;
  take(shared ? HandOverKind::kSideBySide : HandOverKind::kPlannedCold, why);
  return true;
}

std::optional<Error> HandOver::too_few_workers() const {
  if (options_.concurrency == 0 || options_.concurrency >= old_->concurrency) return std::nullopt;
  return not_now("proxy.concurrency is " + std::to_string(options_.concurrency) + ", but " + old_name() + " runs " +
                     std::to_string(old_->concurrency) + " workers: connections in their queues would be lost",
                 "set it to " + std::to_string(old_->concurrency) + " or more, or --hand-over side-by-side");
}

std::optional<Error> HandOver::too_little_memory() const {
  if (!options_.room) return std::nullopt;
  const auto& [available, used, limit] = *options_.room;
  if (limit != 0 && limit * 10 < used * kRoomTenths)
    return Error(Code::kResourceExhausted, "HWS-PX-023",
                 "the new one may have " + megabytes(limit) + ", and " + old_name() + " holds " + megabytes(used),
                 "HAWSER_PROXY_MEMORY_MAX in /etc/hawser/broker.env must be over 1.2 times that");
  if (available * 10 >= used * kRoomTenths) return std::nullopt;
  return Error(
      Code::kResourceExhausted, "HWS-PX-023",
      "two proxies need room: " + megabytes(available) + " are free, " + old_name() + " holds " + megabytes(used),
      "free memory: 1.2 times what the proxy holds must be available");
}

bool HandOver::room_for_two(Monotonic now) {
  const std::string reason = options_.room ? megabytes(options_.room->available) + " are free, " + old_name() +
                                                 " holds " + megabytes(options_.room->used)
                                           : "what is free can't be told";
  return gate("memory", old_name(), too_little_memory(), reason, now);
}

bool HandOver::hot_restart_fits(Monotonic now) {
  workers_ = old_->concurrency;
  return gate("concurrency", old_name(), too_few_workers(), std::to_string(workers_) + " workers, none goes away",
              now) &&
         room_for_two(now);
}

// Known only once the candidate has been asked. What one of them doesn't tell was compatible so far.
bool HandOver::versions_fit(const Validation& validation, Monotonic now) {
  if (!is(HandOverKind::kHotRestart)) return true;
  const std::string& candidate = validation.hot_restart_version;
  const std::string running = old_inspection_ ? old_inspection_->hot_restart_version : "";
  if (candidate.empty() || running.empty() || candidate == running) {
    note("hot_restart_version", new_name(), true,
         candidate.empty() || running.empty() ? "not told by both" : candidate + " on both sides", now);
    return true;
  }
  const std::string what = old_name() + " speaks hot restart " + running + ", the new one " + candidate;
  const std::string asked_of = new_name();
  if (fall_back(what)) {
    note("hot_restart_version", asked_of, false, what, now);
    validate(now);  // under its new name
    return false;
  }
  return gate("hot_restart_version", new_name(),
              Error(Code::kFailedPrecondition, "HWS-PX-031", what,
                    "--hand-over planned-cold (connections are refused for under a second), or side-by-side"),
              "", now);
}

}  // namespace hawser::proxy
