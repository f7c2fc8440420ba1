// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "config/load.h"

namespace hawser {

struct AppOptions {
  config::Paths paths;
  std::string run_dir = "/run/hawser";
  std::string state_dir = "/var/lib/hawser";
};

// What: the daemon. It serves admin.sock from the start, and holds a Membership (membership.h) while the host is
// joined. Threading: on the loop. Failure: start() fails when another hawserd runs or admin.sock can't be made;
// everything later is reported in status and tried again.
class App {
 public:
  App(AsioLoop& loop, AppOptions options);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  Status start(config::Config config);
  // Of the service alone, as for a restart: the proxy, its rules and the registration's grace time carry the host
  // meanwhile. Of the machine: machine_shutdown.h.
  enum class Ending { kService, kMachine };
  void stop(Ending ending, std::function<void()> done);
  std::chrono::seconds shutdown_bound() const;  // how much longer the latter may take

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hawser
