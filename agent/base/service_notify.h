// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/loop.h"

// What: what a service tells systemd of itself (sd_notify(3)), for Type=notify units. Without NOTIFY_SOCKET, as in a
// container or a shell, nothing happens. Threading: any thread for the functions. Failure: none that could matter: a
// manager that doesn't listen is no reason to act differently.
namespace hawser {

void notify_ready();
void notify_stopping();
// Stopping takes up to this long from now, whatever TimeoutStopSec= says.
void notify_extend(std::chrono::seconds time);
// One line for `systemctl status`; line breaks become spaces.
void notify_status(const std::string& text);

// What: pets the unit's watchdog from the loop, at half of WatchdogSec=: a loop that hangs is thus found and restarted,
// while other threads of the process can't hide it. Does nothing when the unit has no watchdog, or when it is meant for
// another process (WATCHDOG_PID). Threading: on the loop. Failure: none.
class Watchdog {
 public:
  explicit Watchdog(Loop& loop);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  bool enabled() const { return every_ > Loop::Duration::zero(); }

 private:
  void pet();

  Loop& loop_;
  Loop::Duration every_{};
  std::unique_ptr<Loop::Timer> timer_;
};

}  // namespace hawser
