// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "config/config.h"

namespace hawser::registration {

// What: asks the workload's program whether it is well: HTTP (200 to 399), TCP (connects) or a command (exits 0), each
// in its time; a state changes after as many results in a row as its threshold says. The state is unknown until the
// first threshold is reached; nothing is called before. Threading: on the loop; the callback too, on change only.
// Failure: HWS-RG-002, an unhealthy result with its reason. A command's whole process group is killed when its time is
// up, or when the command has ended and left something behind.
class HealthProbe {
 public:
  using Changed = std::function<void(bool healthy, const std::string& reason)>;

  HealthProbe(AsioLoop& loop, config::HealthProbe settings, Changed changed);
  ~HealthProbe();
  // Without a probe configured the program is healthy at once.
  void start();
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::registration
