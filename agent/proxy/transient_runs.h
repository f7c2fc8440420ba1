// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "proxy/launcher.h"
#include "proxy/systemd_bus.h"

// What: short programs as transient units, for what only the proxy's user may do: the broker can't become that user
// itself. Their output comes through a pipe that systemd passes on. Threading: on the loop; `done` exactly once, within
// the limit and a little more. Failure: HWS-BR-025 (can't be started), HWS-BR-026 (took too long), HWS-BR-040, -041.
namespace hawser::proxy {

class TransientRuns {
 public:
  using Done = std::function<void(Result<CheckResult>)>;

  TransientRuns(AsioLoop& loop, SystemdBus& bus);
  ~TransientRuns();

  void run(CheckSpec spec, std::vector<std::string> writable, Done done);

  // What the launcher hears from the bus; units that aren't ours are ignored.
  void changed(const std::string& unit, const UnitState& change);
  void removed(const std::string& unit);
  void job_removed(const std::string& unit, const std::string& result);
  void disconnected();

 private:
  struct Run;
  using RunPtr = std::shared_ptr<Run>;

  void read(const RunPtr& run);
  void finish(const RunPtr& run);
  void answer(const RunPtr& run, Result<CheckResult> result);
  RunPtr find(const std::string& unit) const;

  AsioLoop& loop_;
  SystemdBus& bus_;
  std::map<std::string, RunPtr> runs_;
  std::uint64_t next_ = 0;
  std::string tag_;
};

}  // namespace hawser::proxy
