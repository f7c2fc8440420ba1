// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/interception.h"

#include "base/file.h"
#include "base/log.h"
#include "broker/intent_proto.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

constexpr std::size_t kMaxPlan = 1U << 20U;

std::string failures(const std::vector<netfilter::ProbeResult>& probes) {
  std::string out;
  for (const auto& probe : probes)
    if (!probe.passed) out += (out.empty() ? "" : "; ") + probe.name + ": " + probe.detail;
  return out;
}

}  // namespace

Interception::Interception(Loop& loop, netfilter::Backend& backend, Kernel kernel, Options options)
    : loop_(loop), backend_(backend), kernel_(std::move(kernel)), options_(std::move(options)) {}

Status Interception::load() {
  if (!file::exists(options_.plan_path)) return {};
  auto bytes = file::read_bounded(options_.plan_path, kMaxPlan);
  if (!bytes) return bytes.error();
  v1::Intent stored;
  if (!stored.ParseFromString(*bytes))
    return Error(Code::kDataLoss, "HWS-BR-015", options_.plan_path + " is damaged",
                 "remove it; nothing else is needed");
  intent_ = to_intent(stored);
  return {};
}

Result<Interception::Applied> Interception::plan(netfilter::Intent intent, std::chrono::seconds confirm, Proxy proxy) {
  if (proxy == Proxy::kWithout && intent.capture_outbound)
    return Error(Code::kInvalidArgument, "HWS-BR-019", "outbound traffic can't be captured without a proxy",
                 "ask for inbound alone");
  if (confirm > options_.max_confirm)
    return Error(Code::kInvalidArgument, "HWS-BR-013", "an hour is the longest time to wait for confirmation",
                 "ask for less, or for 0: no time limit");
  intent.exempt_uids.insert(intent.exempt_uids.end(), options_.exempt_uids.begin(), options_.exempt_uids.end());
  intent.exempt_gids.insert(intent.exempt_gids.end(), options_.exempt_gids.begin(), options_.exempt_gids.end());
  auto compiled = netfilter::compile(intent, kernel_.guard());
  if (!compiled) return compiled.error();

  const auto begun = loop_.now();
  if (auto applied = backend_.apply(*compiled); !applied) {
    // What was in force before still is, timer included; what doesn't read back is no use to anybody.
    if (applied.error().id() == "HWS-NF-013") (void)withdraw("it doesn't read back");
    return applied.error();
  }
  end_drain(Error(Code::kAborted, "HWS-BR-014", "new rules were applied while the old ones drained", "remove again"));
  confirm_timer_.reset();
  Applied out;
  out.apply_ms = std::chrono::duration<double, std::milli>(loop_.now() - begun).count();
  out.digest = digest_ = compiled->digest;
  intent_ = std::move(intent);
  confirmed_ = false;
  if (proxy == Proxy::kThere) out.probes = kernel_.probe(backend_, *compiled);
  if (const std::string failed = failures(out.probes); !failed.empty()) {
    (void)withdraw("a probe failed");
    return Error(Code::kFailedPrecondition, "HWS-BR-010",
                 "the rules don't lead to the proxy, so they were withdrawn: " + failed,
                 "is the proxy LIVE, and does it listen on the two ports in each family that is captured?");
  }
  if (confirm.count() > 0)
    confirm_timer_ = loop_.after(confirm, [this] { (void)withdraw("it wasn't confirmed in time"); });
  log::info("interception applied", {{"digest", digest_}, {"ms", std::to_string(out.apply_ms)}});
  return out;
}

Status Interception::confirm(const std::string& digest) {
  if (digest_.empty() || digest != digest_)
    return Error(Code::kFailedPrecondition, "HWS-BR-013", "these rules aren't in force (any more)", "apply them again");
  v1::Intent stored;
  to_proto(intent_, stored);
  // Stored first: rules that outlive their timer must be known after a crash.
  if (auto saved = file::write_atomic(options_.plan_path, stored.SerializeAsString(), 0600); !saved) return saved;
  confirm_timer_.reset();
  confirmed_ = true;
  log::info("interception confirmed", {{"digest", digest_}});
  return {};
}

Status Interception::withdraw(const std::string& why) {
  log::warn("interception withdrawn", {{"why", why}});
  confirm_timer_.reset();
  digest_.clear();
  confirmed_ = false;
  auto removed = backend_.remove_rules();
  if (!removed) log::error("rules can't be removed", {{"error", removed.error().to_string()}});
  start_drain();
  return removed;
}

void Interception::remove(Done done) {
  confirm_timer_.reset();
  digest_.clear();
  confirmed_ = false;
  if (auto removed = backend_.remove_rules(); !removed) return done(removed);
  if (auto forgotten = file::remove_durable(options_.plan_path); !forgotten) return done(forgotten);
  log::info("interception removed");
  removing_.push_back(std::move(done));
  if (!drain_timer_) start_drain();  // else the one under way answers
}

void Interception::start_drain() {
  const auto now = backend_.observe();
  // Without an anchor nothing lives on redirection any more; sockets that were cut off may linger, though.
  if (now && !now->anchor) return end_drain({});
  drain_end_ = loop_.now() + options_.drain;
  drain();
}

void Interception::drain() {
  drain_timer_.reset();
  const std::size_t left = redirected();
  if (left > 0 && loop_.now() < drain_end_) {
    drain_timer_ = loop_.after(options_.drain_poll, [this] { drain(); });
    return;
  }
  if (left > 0) log::warn("connections are cut off after the drain time", {{"connections", std::to_string(left)}});
  auto removed = backend_.remove_anchor();
  if (!removed) log::error("the anchor can't be removed", {{"error", removed.error().to_string()}});
  end_drain(removed);
}

void Interception::end_drain(const Status& status) {
  drain_timer_.reset();
  const auto waiting = std::move(removing_);
  removing_.clear();
  for (const Done& done : waiting) done(status);
}

std::size_t Interception::redirected() {
  auto found = kernel_.redirected(static_cast<std::uint16_t>(intent_.outbound_port),
                                  static_cast<std::uint16_t>(intent_.inbound_port));
  if (found) return *found;
  log::warn("can't count redirected connections", {{"error", found.error().to_string()}});
  return 1;  // unknown: the whole drain time is waited
}

Result<Interception::State> Interception::observe() {
  auto kernel = backend_.observe();
  if (!kernel) return kernel.error();
  State out;
  out.kernel = std::move(*kernel);
  out.active = !digest_.empty() && out.kernel.rules && out.kernel.listing.digest == digest_;
  out.confirmed = out.active && confirmed_;
  return out;
}

void Interception::stop() {
  confirm_timer_.reset();
  end_drain(Error(Code::kCancelled, "HWS-BR-014", "the broker is stopping", "remove again when it runs"));
  if (auto removed = backend_.remove_rules(); !removed)
    log::error("rules can't be removed", {{"error", removed.error().to_string()}});
  if (redirected() > 0) return;
  if (auto removed = backend_.remove_anchor(); !removed)
    log::error("the anchor can't be removed", {{"error", removed.error().to_string()}});
}

}  // namespace hawser::broker
