// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "proxy/launcher.h"

namespace hawser::proxy {

// What: Launcher for hosts without systemd: each generation runs under a holder (holder.h), whose record tells a later
// launcher what runs. The end of a generation is the end of its holder, seen through a pidfd.
// Threading, failure, durability: see Launcher. Signals need CAP_KILL.
class DirectLauncher final : public Launcher {
 public:
  struct Options {
    std::string run_folder = "/var/lib/hawser/proxy/run";
    // What is run with `--hold RECORD`: this very program. An upgrade may have replaced the file, but not this.
    std::string holder = "/proc/self/exe";
    std::chrono::milliseconds start_timeout{10'000};
    std::size_t max_generations = 8;
  };

  DirectLauncher(AsioLoop& loop, Options options);
  ~DirectLauncher() override;

  Status adopt() override;
  void start(GenerationSpec spec, Started done) override;
  Status signal(const std::string& name, int signal) override;
  void reap(const std::string& name, std::chrono::milliseconds wait, Reaped done) override;
  std::vector<GenerationState> list() const override;
  void validate(CheckSpec spec, Checked done) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::proxy
