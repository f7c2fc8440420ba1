// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "proxy/generation_record.h"
#include "proxy/systemd_launcher.h"
#include "proxy/transient_runs.h"

// Inside of systemd_launcher.cpp (start to end) and systemd_adoption.cpp (what systemd says runs).
namespace hawser::proxy {

class SystemdLauncher::Impl : public SystemdBus::Events, public std::enable_shared_from_this<Impl> {
 public:
  enum class Phase { kStarting, kRunning, kEnded, kReaping };

  // One answer owed to a reap() that waits.
  struct Waiter {
    Launcher::Reaped done;
    std::unique_ptr<Loop::Timer> timer;
  };

  struct Entry {
    GenerationRecord record;
    std::string unit;
    UnitState state;
    Phase phase = Phase::kRunning;
    bool asked = false;      // systemd has been, to start it
    bool lost = false;       // the connection broke after that
    int signal_to_send = 0;  // when there is a connection again
    Launcher::Started started;
    std::unique_ptr<Loop::Timer> start_limit;
    std::list<Waiter> waiters;
  };
  using EntryPtr = std::shared_ptr<Entry>;

  static GenerationState state_of(const Entry& entry);

  Impl(AsioLoop& loop, std::unique_ptr<SystemdBus> bus, Options options)
      : loop_(loop), bus_(std::move(bus)), options_(std::move(options)), runs_(loop, *bus_) {}

  Status adopt();
  void start(GenerationSpec spec, Started done);
  Status signal(const std::string& name, int signal);
  void reap(const std::string& name, std::chrono::milliseconds wait, Reaped done);
  std::vector<GenerationState> list() const;
  void validate(CheckSpec spec, Checked done) { runs_.run(std::move(spec), {}, std::move(done)); }
  void silence() { bus_->set_events(nullptr); }

  void connected() override { sync(); }
  void reloaded() override { sync(); }
  void disconnected() override;
  void changed(const std::string& unit, const UnitState& change) override;
  void removed(const std::string& unit) override;
  void job_removed(const std::string& unit, const std::string& result) override;

 private:
  struct Sync {
    std::set<std::string> present;
    std::size_t open = 0;
  };

  std::string path_of(const Entry& entry) const { return record_path(options_.run_folder, entry.record.spec.name); }
  EntryPtr entry_of(const std::string& unit) const;
  Status load_records();
  void sync();
  void synced(const Sync& sync);
  void found(const std::string& unit, const UnitState& state);
  void apply(const EntryPtr& entry, const UnitState& state);
  void save(const Entry& entry) const;
  void launch(const EntryPtr& entry, bool again);
  void settle(const EntryPtr& entry, const std::string& result, const UnitState& state);
  void start_failed(const EntryPtr& entry, const std::string& why);
  void ended(const EntryPtr& entry);
  void send_signal(const Entry& entry, int signal);
  void finish_reap(const EntryPtr& entry, Reaped done);
  void sweep(const EntryPtr& entry, Reaped done);
  void forget(const EntryPtr& entry, const Reaped& done);

  AsioLoop& loop_;
  std::unique_ptr<SystemdBus> bus_;
  Options options_;
  TransientRuns runs_;
  std::map<std::string, EntryPtr> entries_;
  bool synced_ = false;
};

}  // namespace hawser::proxy
