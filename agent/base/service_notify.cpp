// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/service_notify.h"

#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdint>

namespace hawser {

void notify_ready() {
  sd_notify(0, "READY=1");
}

void notify_stopping() {
  sd_notify(0, "STOPPING=1");
}

void notify_extend(std::chrono::seconds time) {
  const auto microseconds = std::chrono::microseconds(time).count();
  sd_notify(0, ("EXTEND_TIMEOUT_USEC=" + std::to_string(microseconds)).c_str());
}

void notify_status(const std::string& text) {
  std::string line = "STATUS=" + text;
  // A line break would begin another assignment, such as READY=1.
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  sd_notify(0, line.c_str());
}

Watchdog::Watchdog(Loop& loop) : loop_(loop) {
  std::uint64_t limit_us = 0;
  if (sd_watchdog_enabled(0, &limit_us) <= 0) return;
  every_ = std::chrono::microseconds(limit_us / 2);
  if (enabled()) pet();
}

Watchdog::~Watchdog() = default;

void Watchdog::pet() {
  sd_notify(0, "WATCHDOG=1");
  timer_ = loop_.after(every_, [this] { pet(); });
}

}  // namespace hawser
