// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "proxy/launcher.h"
#include "proxy/systemd_bus.h"

namespace hawser::proxy {

// What: Launcher where systemd is PID 1: each generation is a transient service hawser-proxy-f1e0.service in
// hawser.slice, a child of PID 1 in a sandbox of its own, whatever happens to the broker. The broker needs no
// capability for it: signals go through KillUnit, and what only the proxy's user may unlink is unlinked by a short unit
// of that user. A generation that ends well is forgotten by systemd at once; its exit status is kept in our record.
// Threading: see Launcher. Failure: see Launcher; HWS-BR-040 (no connection), HWS-BR-041 (systemd refuses). A start
// and a signal wait for a connection that is broken for the moment. A signal is on its way when signal() returns; that
// systemd refused it is only logged. Durability: the exit status is on disk
// before anyone hears of the end.
class SystemdLauncher final : public Launcher {
 public:
  struct Options {
    std::string run_folder = "/var/lib/hawser/proxy/run";
    std::chrono::milliseconds start_timeout{15'000};
    std::chrono::milliseconds adopt_timeout{5'000};
    std::size_t max_generations = 8;
  };

  SystemdLauncher(AsioLoop& loop, std::unique_ptr<SystemdBus> bus, Options options);
  ~SystemdLauncher() override;

  Status adopt() override;
  void start(GenerationSpec spec, Started done) override;
  Status signal(const std::string& name, int signal) override;
  void reap(const std::string& name, std::chrono::milliseconds wait, Reaped done) override;
  std::vector<GenerationState> list() const override;
  void validate(CheckSpec spec, Checked done) override;

  // Is systemd this host's init?
  static bool possible();

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::proxy
