// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include <filesystem>

#include "base/log.h"
#include "proxy/adopted_unit.h"
#include "proxy/process_identity.h"
#include "proxy/systemd_launcher_impl.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kMaxRecords = 64;
constexpr const char* kPattern = "hawser-proxy-f*.service";

}  // namespace

// --- what runs already

Status SystemdLauncher::Impl::adopt() {
  if (auto loaded = load_records(); !loaded) return loaded;
  bus_->set_events(this);
  if (bus_->connected()) sync();
  // Alone with the bus: nobody is served before we know what runs.
  if (!bus_->run_until([this] { return synced_; }, options_.adopt_timeout))
    log::warn("systemd doesn't answer; what is recorded of the proxies is taken for true until it does",
              {{"generations", std::to_string(entries_.size())}, {"id", "HWS-BR-040"}});
  for (const auto& [name, entry] : entries_)
    log::info("found a proxy generation", {{"generation", name},
                                           {"pid", std::to_string(entry->record.process.pid)},
                                           {"running", state_of(*entry).running ? "yes" : "no"}});
  return {};
}

Status SystemdLauncher::Impl::load_records() {
  std::error_code error;
  std::size_t seen = 0;
  for (std::filesystem::directory_iterator at(options_.run_folder, error), end;
       !error && at != end && seen < kMaxRecords; at.increment(error), ++seen) {
    if (at->path().extension() != ".json") continue;
    auto record = load_record(at->path().string());
    const std::string name = at->path().stem().string();
    if (!record || record->spec.name != name) {
      log::warn("a record of a proxy generation can't be used", {{"path", at->path().string()}});
      continue;
    }
    if (record->holder && !record->ended && record->boot == boot_id()) {
      log::warn("a proxy generation was started by the direct launcher; it isn't touched", {{"generation", name}});
      continue;
    }
    auto entry = std::make_shared<Entry>();
    entry->unit = unit_of(name);
    entry->phase = record->ended ? Phase::kEnded : Phase::kRunning;
    entry->record = std::move(*record);
    entries_[name] = entry;
  }
  if (!error) return {};
  return Error(Code::kFailedPrecondition, "HWS-BR-024", "can't read " + options_.run_folder + ": " + error.message(),
               "create the folders with systemd-tmpfiles --create");
}

// Asks for the units that there are, then for the state of each.
void SystemdLauncher::Impl::sync() {
  bus_->list(kPattern, [self = weak_from_this()](const Result<std::vector<std::string>>& units) {
    auto impl = self.lock();
    if (!impl || !units) return;  // a lost connection: the next one begins anew
    auto sync = std::make_shared<Sync>();
    sync->open = 1;
    const auto closed = [sync, self] {
      if (--sync->open > 0) return;
      if (auto again = self.lock()) again->synced(*sync);
    };
    for (const std::string& unit : *units) {
      if (generation_of(unit).empty()) continue;
      sync->present.insert(unit);
      ++sync->open;
      impl->bus_->get(unit, [self, unit, closed](const Result<UnitState>& state) {
        auto again = self.lock();
        if (again && state) again->found(unit, *state);
        closed();
      });
    }
    closed();
  });
}

void SystemdLauncher::Impl::synced(const Sync& sync) {
  if (!bus_->connected()) return;  // some of the answers were failures
  const auto entries = entries_;
  for (const auto& [name, entry] : entries) {
    const bool present = sync.present.count(entry->unit) != 0;
    // Not asked yet, or the question was lost with its connection; the time limit of the start bounds this.
    if (entry->phase == Phase::kStarting && (!entry->asked || (entry->lost && !present))) {
      entry->lost = false;
      launch(entry, true);
    }
    if (const int number = std::exchange(entry->signal_to_send, 0); number != 0 && state_of(*entry).running)
      send_signal(*entry, number);
    if (!present && entry->phase == Phase::kRunning) apply(entry, UnitState());
  }
  synced_ = true;
}

void SystemdLauncher::Impl::found(const std::string& unit, const UnitState& state) {
  auto entry = entry_of(unit);
  if (!entry && state.loaded()) {
    entry = std::make_shared<Entry>();
    entry->unit = unit;
    entry->record.spec = adopted_spec(generation_of(unit), state);
    entries_[entry->record.spec.name] = entry;
    log::warn("a proxy generation without a record was found",
              {{"generation", entry->record.spec.name}, {"pid", std::to_string(state.main_pid.value_or(0))}});
  }
  if (!entry) return;
  if (entry->phase == Phase::kRunning) return apply(entry, state);
  if (entry->phase != Phase::kStarting || !entry->lost) return;
  // Its job ended while nobody listened, unless it's under way: then it'll be told of.
  if (state.active_state == "activating") return;
  settle(entry, state.over() ? "failed" : "done", state);
}

// The truth about a generation that ran when we last heard of it.
void SystemdLauncher::Impl::apply(const EntryPtr& entry, const UnitState& state) {
  if (entry->phase != Phase::kRunning) return;
  // What has ended well is no longer loaded. Then what it said before is all there is.
  if (!state.loaded()) return ended(entry);
  entry->state.merge(state);
  if (entry->state.over()) return ended(entry);
  GenerationRecord& record = entry->record;
  const auto pid = static_cast<pid_t>(entry->state.main_pid.value_or(0));
  const std::string invocation = entry->state.invocation.value_or("");
  if (pid <= 0 || (record.process.pid == pid && record.invocation == invocation && record.boot == bus_->boot())) return;
  record.process = {pid, 0};
  record.invocation = invocation;
  record.boot = bus_->boot();
  record.started_at = entry->state.started_at.value_or(record.started_at);
  save(*entry);
}

SystemdLauncher::Impl::EntryPtr SystemdLauncher::Impl::entry_of(const std::string& unit) const {
  const auto at = entries_.find(generation_of(unit));
  return at == entries_.end() ? nullptr : at->second;
}

void SystemdLauncher::Impl::save(const Entry& entry) const {
  if (auto saved = save_record(path_of(entry), entry.record); !saved) log::warn(saved.error().to_string());
}

// --- what the bus tells

void SystemdLauncher::Impl::disconnected() {
  runs_.disconnected();
  for (const auto& [name, entry] : entries_)
    if (entry->phase == Phase::kStarting && entry->asked) entry->lost = true;
}

void SystemdLauncher::Impl::changed(const std::string& unit, const UnitState& change) {
  runs_.changed(unit, change);
  const auto entry = entry_of(unit);
  if (!entry) return;
  UnitState state = change;
  state.load_state = "loaded";
  apply(entry, state);
}

void SystemdLauncher::Impl::removed(const std::string& unit) {
  runs_.removed(unit);
  const auto entry = entry_of(unit);
  if (!entry || entry->phase != Phase::kRunning) return;
  // Said of every unit in a daemon-reload, too, and of those it isn't true.
  bus_->get(unit, [self = weak_from_this(), entry](const Result<UnitState>& state) {
    auto impl = self.lock();
    if (impl && state) impl->apply(entry, *state);
  });
}

void SystemdLauncher::Impl::job_removed(const std::string& unit, const std::string& result) {
  runs_.job_removed(unit, result);
  const auto entry = entry_of(unit);
  if (!entry || entry->phase != Phase::kStarting) return;
  bus_->get(unit, [self = weak_from_this(), entry, result](const Result<UnitState>& state) {
    auto impl = self.lock();
    if (impl && state) impl->settle(entry, result, *state);
  });
}

}  // namespace hawser::proxy
