// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/systemd_launcher.h"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "base/file.h"
#include "base/log.h"
#include "proxy/systemd_launcher_impl.h"

namespace hawser::proxy {

GenerationState SystemdLauncher::Impl::state_of(const Entry& entry) {
  GenerationState out;
  out.name = entry.record.spec.name;
  out.binary_sha256 = entry.record.spec.binary_sha256;
  out.pid = entry.record.process.pid;
  out.running = entry.phase == Phase::kStarting || entry.phase == Phase::kRunning;
  out.exit_status = entry.record.exit_status;
  out.started_at = entry.record.started_at;
  out.permits = entry.record.spec.permits;
  out.out_of_memory = entry.record.out_of_memory;
  return out;
}

// --- start

void SystemdLauncher::Impl::start(GenerationSpec spec, Started done) {
  const auto at = entries_.find(spec.name);
  if (at != entries_.end()) {
    const auto& old = at->second;
    if (old->phase != Phase::kEnded)
      return done(Error(Code::kAlreadyExists, "HWS-BR-021", "proxy generation " + spec.name + " exists already",
                        "end and reap it first, or use the next epoch"));
    // It ended unseen, perhaps before a reboot. Its bootstrap has been replaced by the new one and must stay.
    old->record.spec.bootstrap.clear();
    return finish_reap(old, [self = shared_from_this(), spec = std::move(spec),
                             done = std::move(done)](const Result<GenerationState>& state) {
      if (!state) return done(state.error());
      self->start(spec, done);
    });
  }
  if (entries_.size() >= options_.max_generations)
    return done(Error(Code::kResourceExhausted, "HWS-BR-021",
                      std::to_string(entries_.size()) + " proxy generations exist already", "reap those that ended"));
  auto entry = std::make_shared<Entry>();
  entry->unit = unit_of(spec.name);
  entry->record.spec = std::move(spec);
  entry->record.boot = bus_->boot();
  entry->phase = Phase::kStarting;
  if (auto saved = save_record(path_of(*entry), entry->record); !saved) return done(saved.error());
  entry->started = std::move(done);
  entries_[entry->record.spec.name] = entry;
  entry->start_limit = loop_.after(options_.start_timeout, [this, entry = std::weak_ptr(entry)] {
    const auto late = entry.lock();
    if (!late) return;
    if (!late->asked) return start_failed(late, "there is no connection to systemd [HWS-BR-040]");
    // It stays known, for signal and reap: it may run after all.
    if (const auto answer = std::exchange(late->started, nullptr))
      answer(Error(Code::kDeadlineExceeded, "HWS-BR-026", "systemd didn't start " + late->unit + " in time",
                   "see its state with `systemctl status`"));
  });
  launch(entry, true);
}

void SystemdLauncher::Impl::launch(const EntryPtr& entry, bool again) {
  // `daemon-reexec` (each upgrade of systemd) breaks the connection for a moment: then with the next one.
  if (!bus_->connected()) return;
  entry->asked = true;
  bus_->start(entry->unit, generation_properties(entry->record.spec),
              [self = weak_from_this(), entry, again](const Status& asked) {
                auto impl = self.lock();
                if (!impl || asked) return;  // the job's end is told by its signal
                const Error& error = asked.error();
                // Whether it got through is found out with the next connection.
                if (error.id() == "HWS-BR-041" && error.code() == Code::kUnavailable) return;
                if (!again || error.code() != Code::kAlreadyExists) return impl->start_failed(entry, error.to_string());
                // A failed one of this name, which nobody reaped.
                impl->bus_->reset_failed(entry->unit, [self, entry](const Status& reset) {
                  auto retry = self.lock();
                  if (!retry) return;
                  if (!reset) return retry->start_failed(entry, reset.error().to_string());
                  retry->launch(entry, false);
                });
              });
}

void SystemdLauncher::Impl::settle(const EntryPtr& entry, const std::string& result, const UnitState& state) {
  if (entry->phase != Phase::kStarting) return;
  if (result != "done") {
    bus_->reset_failed(entry->unit, [](const Status&) {});
    const bool told = state.wait_status().has_value();
    return start_failed(
        entry, told ? "systemd says " + describe_exit(*state.exit_value) : "its start ended as \"" + result + "\"");
  }
  entry->phase = Phase::kRunning;
  entry->start_limit.reset();
  entry->record.started_at = static_cast<std::uint64_t>(::time(nullptr));
  apply(entry, state);  // it may have ended already
  if (const auto answer = std::exchange(entry->started, nullptr)) answer(state_of(*entry));
}

void SystemdLauncher::Impl::start_failed(const EntryPtr& entry, const std::string& why) {
  entry->start_limit.reset();
  entry->phase = Phase::kEnded;
  (void)file::remove_durable(path_of(*entry));
  entries_.erase(entry->record.spec.name);
  const Error error(Code::kInternal, "HWS-BR-020", "can't start " + entry->record.spec.name + ": " + why,
                    "check the binary; see `journalctl -u " + entry->unit + "`");
  log::warn(error.to_string());
  if (const auto answer = std::exchange(entry->started, nullptr)) answer(error);
}

// --- end

void SystemdLauncher::Impl::ended(const EntryPtr& entry) {
  GenerationRecord& record = entry->record;
  entry->phase = Phase::kEnded;
  record.ended = true;
  // Gone without a word: it ended well in this boot, or the host went down with it.
  record.exit_status = entry->state.wait_status().value_or(record.boot == bus_->boot() ? 0 : -1);
  record.out_of_memory = entry->state.result == "oom-kill";
  save(*entry);
  log::info("a proxy generation ended",
            {{"generation", record.spec.name}, {"wait_status", std::to_string(record.exit_status)}});
  if (entry->waiters.empty()) return;
  auto waiters = std::make_shared<std::list<Waiter>>(std::move(entry->waiters));
  entry->waiters.clear();
  for (Waiter& waiter : *waiters) waiter.timer.reset();
  finish_reap(entry, [waiters](const Result<GenerationState>& state) {
    for (Waiter& waiter : *waiters) waiter.done(state);
  });
}

Status SystemdLauncher::Impl::signal(const std::string& name, int signal) {
  const auto at = entries_.find(name);
  if (at == entries_.end()) return unknown_generation(name);
  const auto& entry = at->second;
  if (entry->phase == Phase::kEnded || entry->phase == Phase::kReaping)
    return Error(Code::kNotFound, "HWS-BR-022", "proxy generation " + name + " has ended", "reap it");
  // SIGKILL isn't replaced by what is milder.
  if (!bus_->connected())
    entry->signal_to_send = entry->signal_to_send == SIGKILL ? SIGKILL : signal;
  else
    send_signal(*entry, signal);
  return {};
}

void SystemdLauncher::Impl::send_signal(const Entry& entry, int signal) {
  // By systemd, which knows the process: a number of ours could be another's by now.
  bus_->kill(entry.unit, signal, [name = entry.record.spec.name](const Status& sent) {
    if (!sent) log::warn(sent.error().to_string(), {{"generation", name}});
  });
}

void SystemdLauncher::Impl::reap(const std::string& name, std::chrono::milliseconds wait, Reaped done) {
  const auto at = entries_.find(name);
  if (at == entries_.end()) return done(unknown_generation(name));
  const auto entry = at->second;
  if (entry->phase == Phase::kReaping)
    return done(
        Error(Code::kAborted, "HWS-BR-022", "proxy generation " + name + " is being reaped", "nothing is left to do"));
  if (entry->phase == Phase::kEnded) return finish_reap(entry, std::move(done));
  if (wait.count() <= 0) return done(state_of(*entry));
  entry->waiters.push_back({std::move(done), nullptr});
  const auto waiter = std::prev(entry->waiters.end());
  waiter->timer = loop_.after(wait, [entry, waiter] {
    const Reaped answer = std::move(waiter->done);
    entry->waiters.erase(waiter);  // with it goes this timer
    answer(state_of(*entry));
  });
}

void SystemdLauncher::Impl::finish_reap(const EntryPtr& entry, Reaped done) {
  entry->phase = Phase::kReaping;
  bus_->reset_failed(entry->unit,
                     [self = weak_from_this(), entry, done = std::move(done)](const Status& reset) mutable {
                       auto impl = self.lock();
                       if (!impl) return;
                       if (reset) return impl->sweep(entry, std::move(done));
                       entry->phase = Phase::kEnded;
                       done(reset.error());
                     });
}

void SystemdLauncher::Impl::sweep(const EntryPtr& entry, Reaped done) {
  const GenerationSpec& spec = entry->record.spec;
  std::vector<std::string> paths = spec.leftovers;
  const bool family_lives = std::any_of(entries_.begin(), entries_.end(), [&spec](const auto& item) {
    return item.first != spec.name && family_of(item.first) == family_of(spec.name) && state_of(*item.second).running;
  });
  if (!family_lives) paths.insert(paths.end(), spec.family_leftovers.begin(), spec.family_leftovers.end());
  std::erase_if(paths, [](const std::string& path) { return ::access(path.c_str(), F_OK) != 0 && errno == ENOENT; });
  if (paths.empty()) return forget(entry, done);
  CheckSpec remove;
  remove.binary = kRemove;
  remove.argv = {kRemove, "-f", "--"};
  remove.argv.insert(remove.argv.end(), paths.begin(), paths.end());
  remove.uid = spec.uid;
  remove.gid = spec.gid;
  remove.errors_too = true;
  runs_.run(std::move(remove), writable_folders(paths),
            [self = shared_from_this(), entry, done = std::move(done)](const Result<CheckResult>& removed) {
              // A file that stays does no harm: the next epoch 0 replaces both.
              if (!removed) log::warn(removed.error().to_string());
              if (removed && removed->exit_code != 0)
                log::warn("what a proxy generation left can't be removed",
                          {{"generation", entry->record.spec.name}, {"output", removed->output}});
              self->forget(entry, done);
            });
}

void SystemdLauncher::Impl::forget(const EntryPtr& entry, const Reaped& done) {
  const GenerationRecord& record = entry->record;
  entry->phase = Phase::kEnded;
  Status removed = file::remove_durable(path_of(*entry));
  if (removed && !record.spec.bootstrap.empty()) removed = file::remove_durable(record.spec.bootstrap);
  const GenerationState state = state_of(*entry);
  entries_.erase(state.name);
  if (!removed) return done(removed.error());
  done(state);
}

std::vector<GenerationState> SystemdLauncher::Impl::list() const {
  std::vector<GenerationState> out;
  for (const auto& [name, entry] : entries_) out.push_back(state_of(*entry));
  return out;
}

// --- the shell

SystemdLauncher::SystemdLauncher(AsioLoop& loop, std::unique_ptr<SystemdBus> bus, Options options)
    : impl_(std::make_shared<Impl>(loop, std::move(bus), std::move(options))) {}
SystemdLauncher::~SystemdLauncher() {
  impl_->silence();
}
Status SystemdLauncher::adopt() {
  return impl_->adopt();
}
void SystemdLauncher::start(GenerationSpec spec, Started done) {
  impl_->start(std::move(spec), std::move(done));
}
Status SystemdLauncher::signal(const std::string& name, int signal) {
  return impl_->signal(name, signal);
}
void SystemdLauncher::reap(const std::string& name, std::chrono::milliseconds wait, Reaped done) {
  impl_->reap(name, wait, std::move(done));
}
std::vector<GenerationState> SystemdLauncher::list() const {
  return impl_->list();
}
void SystemdLauncher::validate(CheckSpec spec, Checked done) {
  impl_->validate(std::move(spec), std::move(done));
}
bool SystemdLauncher::possible() {
  return sd_booted() > 0;
}

}  // namespace hawser::proxy
