// SPDX-License-Identifier: Apache-2.0
// What the new one will be given: is it all there, and is it held back until the new one has been looked at?
#include <utility>

#include "proxy/hand_over.h"

namespace hawser::proxy {

using hand_over::Deed;

void HandOver::look_at_snapshot(Monotonic now) {
  if (!options_.feed) return validated(now);
  enter(Step::kSnapshot);
  deadline_ = now + kSettles;
  act(Deed::kSnapshot);
}

// One that would wait for something isn't LIVE, ever. What the plane has just said may still be on its way.
void HandOver::on(const hand_over::SnapshotSeen& seen, Monotonic now) {
  if (step_ != Step::kSnapshot) return;
  const bool settled = seen.result && seen.result->missing.empty() && seen.result->settled;
  if (!settled && now < deadline_) return act(Deed::kSnapshot, kAskAgain);
  std::optional<Error> error;
  if (!seen.result)
    error = seen.result.error();
  else if (!seen.result->missing.empty())
    error = Error(Code::kFailedPrecondition, "HWS-PX-035",
                  new_name() + " would never be LIVE: it would wait for " + seen.result->missing,
                  "hawser xds status shows what the control plane has said; try again when it has said the rest");
  if (error) {
    if (gate("snapshot", new_name(), std::move(error), "", now)) validated(now);
    return;
  }
  if (configuration_fits(*seen.result, now)) validated(now);
}

// By hot restart the old one's listeners are gone when it turns out that the new one refuses them, too.
bool HandOver::configuration_fits(const ConfigFeed::Snapshot& seen, Monotonic now) {
  std::string told = seen.settled ? "all that it will ask for is there" : "all is there, though not yet acknowledged";
  if (seen.rejected.empty()) return gate("snapshot", new_name(), std::nullopt, told, now);
  const std::string what = old_name() + " has refused the newest " + seen.rejected;
  if (!is(HandOverKind::kHotRestart)) return gate("snapshot", new_name(), std::nullopt, told + "; " + what, now);
  const std::string asked_of = new_name();
  // A cold start has no way back either, and would begin with an outage.
  if (fall_back(what, Back::kSideBySide)) {
    note("snapshot", asked_of, false, what, now);
    validate(now);  // under its new name
    return false;
  }
  return gate(
      "snapshot", asked_of,
      Error(Code::kFailedPrecondition, "HWS-PX-038",
            what + ", which a new one would start with: by hot restart there's no way back then",
            "correct it at the control plane (hawser status shows it); --hand-over side-by-side is called off if "
            "the new one refuses it, too"),
      "", now);
}

// ---- holding back

void HandOver::on(const hand_over::Held& held, Monotonic now) {
  if (step_ != Step::kHolding) return;
  if (!gate("held", new_name(), held.result ? std::nullopt : std::optional(held.result.error()),
            "its listeners are held back until it has been looked at", now))
    return;
  launch();
}

void HandOver::release() {
  if (std::exchange(held_, false)) act(Deed::kRelease);
}

// It has warmed its clusters, and waits for listeners alone.
void HandOver::vet(const ProbeResult& probe, Monotonic now) {
  note("epoch", new_name(), true, std::to_string(probe.epoch), now);
  const bool itself = version_.empty() || probe.version.empty() || probe.version == version_;
  note("version", new_name(), itself, itself ? probe.version : probe.version + ", but " + version_ + " was validated",
       now);
  if (!itself)
    return kill(Error(Code::kUnavailable, "HWS-PX-032",
                      new_name() + " says that it is Envoy " + probe.version + ", but " + version_ + " was validated",
                      old_name() + " serves on; was the binary replaced meanwhile? (hawser proxy list)"));
  note("clusters", new_name(), true, "all are warm", now);
  enter(Step::kVetting);
  act(Deed::kInspectNew);
}

void HandOver::vetted(const Result<Inspection>& inspected, Monotonic now) {
  if (!inspected && ++failures_ < kPatience) return act(Deed::kInspectNew, kAskAgain);
  std::string trouble;
  if (!inspected) trouble = inspected.error().message();
  if (inspected && !inspected->expired.empty()) trouble = "expired: " + inspected->expired;
  note("certificates", new_name(), trouble.empty(),
       trouble.empty() ? std::to_string(inspected->certificates) + " valid, before it has listeners" : trouble, now);
  if (!trouble.empty())
    return kill(Error(Code::kUnavailable, "HWS-PX-032",
                      new_name() + " failed its check of certificates before it was LIVE: " + trouble,
                      old_name() + " serves on; hawser cert show, and the proxy's own log, tell more"));
  vetted_ = true;
  release();
  enter(Step::kWarming);
  act(Deed::kProbeNew);
}

}  // namespace hawser::proxy
