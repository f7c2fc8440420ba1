// SPDX-License-Identifier: Apache-2.0
#include "exporter.h"

#include <functional>
#include <optional>
#include <utility>

#include "base/backoff.h"
#include "base/log.h"
#include "certs/export.h"
#include "config/load.h"

namespace hawser {
namespace {

constexpr char kExportsItem[] = "exports";
constexpr std::chrono::milliseconds kRetryBase{1'000}, kRetryCap{60'000};
// For programs that were on the way to the set before.
constexpr std::chrono::seconds kSweepAfter{5};

certs::ExportLayout layout_of(const config::ExportSettings& settings) {
  static_assert(static_cast<int>(config::ExportSettings::Layout::kPem) == static_cast<int>(certs::ExportLayout::kPem));
  return static_cast<certs::ExportLayout>(settings.layout);
}

Result<certs::ExportTarget> target_of(const config::ExportSettings& settings) {
  certs::ExportTarget out;
  out.to = settings.to;
  out.layout = layout_of(settings);
  if (settings.group.empty()) return out;
  auto group = config::resolve_group(settings.group);
  if (!group) return group.error();
  out.group = *group;
  return out;
}

}  // namespace

struct Exporter::Impl : std::enable_shared_from_this<Impl> {
  struct Round {
    std::size_t written = 0;
    std::optional<Error> first;
  };

  Loop& loop;
  SlowWorker& slow;
  HealthSink& health;
  Metrics& metrics;
  std::vector<config::ExportSettings> exports;
  Backoff backoff{kRetryBase, kRetryCap, random_seed()};
  certs::IdentityPtr identity;
  std::string roots;
  std::unique_ptr<Loop::Timer> timer;
  std::unique_ptr<Loop::Timer> sweeping;
  std::string told;
  bool writing = false;
  bool stale = false;  // something newer came while it was being written
  bool stopped = false;

  Impl(Loop& l, SlowWorker& s, HealthSink& h, Metrics& m, std::vector<config::ExportSettings> e)
      : loop(l), slow(s), health(h), metrics(m), exports(std::move(e)) {}

  void publish(const certs::IdentityPtr& next, const std::string& roots_pem) {
    if (exports.empty() || stopped) return;
    identity = next;
    roots = roots_pem;
    backoff.reset();
    write();
  }

  void write() {
    timer.reset();
    stale = std::exchange(writing, true);
    if (stale) return;
    // Names are looked up here: the C library's functions for it aren't made for threads.
    std::vector<certs::ExportTarget> targets;
    Round round;
    for (const auto& settings : exports) {
      auto target = target_of(settings);
      if (target)
        targets.push_back(std::move(*target));
      else if (!round.first)
        round.first = target.error();
    }
    slow.submit([weak = weak_from_this(), &loop_ref = loop, targets = std::move(targets), round, id = identity,
                 roots_pem = roots, now = loop.wall()]() mutable {
      for (const auto& target : targets) {
        auto written = certs::write_export(target, {id->key_pem.reveal(), id->chain_pem, roots_pem}, now);
        if (written)
          ++round.written;
        else if (!round.first)
          round.first = written.error();
      }
      loop_ref.post([weak, round] {
        if (auto self = weak.lock(); self && !self->stopped) self->written(round);
      });
    });
  }

  void written(const Round& round) {
    writing = false;
    metrics.add("hawser_exports_total", "Rounds of writing certificates for other programs",
                {{"result", round.first ? "failed" : "ok"}});
    if (stale) return write();
    const std::string count = std::to_string(round.written) + " of " + std::to_string(exports.size());
    sweeping = loop.after(kSweepAfter, [this] { sweep(); });
    if (!round.first) {
      told.clear();
      backoff.reset();
      return health.report(kExportsItem, HealthState::kOk, count + " folders hold the certificate in force", nullptr);
    }
    const Error& error = *round.first;
    if (std::exchange(told, error.to_string()) != error.to_string())
      log::warn("certificates for other programs: " + error.message(), {{"id", error.id()}, {"fix", error.hint()}});
    health.report(kExportsItem, HealthState::kDegraded, count + " written: " + error.message(), &error);
    timer = loop.after(kRetryBase + backoff.next(), [this] { write(); });
  }

  void sweep() {
    slow.submit([targets = bare_targets()] {
      for (const auto& target : targets) (void)certs::sweep_export(target);
    });
  }

  std::vector<certs::ExportTarget> bare_targets() const {
    std::vector<certs::ExportTarget> out;
    for (const auto& settings : exports) out.push_back({settings.to, layout_of(settings), {}, {}});
    return out;
  }

  // On the worker, behind what is being written still.
  void erase(std::function<void(Status)> done) {
    slow.submit([targets = bare_targets(), done = std::move(done), &loop_ref = loop] {
      Status out;
      for (const auto& target : targets)
        if (auto removed = certs::remove_export(target); !removed && out) out = removed;
      loop_ref.post([done, out] { done(out); });
    });
  }
};

Exporter::Exporter(Loop& loop, SlowWorker& slow, HealthSink& health, Metrics& metrics,
                   std::vector<config::ExportSettings> exports)
    : impl_(std::make_shared<Impl>(loop, slow, health, metrics, std::move(exports))) {}

Exporter::~Exporter() {
  stop();
}

void Exporter::publish(const certs::IdentityPtr& identity, const std::string& roots_pem) {
  impl_->publish(identity, roots_pem);
}

void Exporter::stop() {
  impl_->stopped = true;
  impl_->timer.reset();
  impl_->sweeping.reset();
}

void Exporter::erase(std::function<void(Status)> done) {
  impl_->erase(std::move(done));
}

}  // namespace hawser
