// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/asio_loop.h"
#include "base/result.h"
#include "proxy/unit_properties.h"
#include "proxy/unit_state.h"

namespace hawser::proxy {

// What: the few words of org.freedesktop.systemd1 that the launcher needs. An interface, so that the launcher is tested
// without systemd; connect_systemd() gives the real one: PID 1's private socket, which works without a message bus, or
// else the system bus; reconnects by itself, after `systemctl daemon-reexec` for instance.
// Threading: on the loop; answers and events too. Each answer comes exactly once, within the call's deadline.
// Failure: HWS-BR-040 (no connection), HWS-BR-041 (refused or not answered).
class SystemdBus {
 public:
  class Events {
   public:
    virtual ~Events() = default;
    virtual void connected() = 0;     // what was known before may be outdated; signals have been missed
    virtual void disconnected() = 0;  // calls under way have been answered with failures
    virtual void reloaded() = 0;
    virtual void changed(const std::string& unit, const UnitState& change) = 0;
    virtual void removed(const std::string& unit) = 0;
    virtual void job_removed(const std::string& unit, const std::string& result) = 0;
  };
  template <typename T>
  using Answer = std::function<void(Result<T>)>;

  virtual ~SystemdBus() = default;
  virtual void set_events(Events* events) = 0;
  virtual bool connected() const = 0;
  // Identifies this boot of the manager, across daemon-reexec; empty until connected.
  virtual std::string boot() const = 0;
  virtual void start(const std::string& unit, UnitProperties properties, Answer<void> done) = 0;
  virtual void kill(const std::string& unit, int signal, Answer<void> done) = 0;
  // A unit that isn't there is fine.
  virtual void reset_failed(const std::string& unit, Answer<void> done) = 0;
  virtual void list(const std::string& pattern, Answer<std::vector<std::string>> done) = 0;
  virtual void get(const std::string& unit, Answer<UnitState> done) = 0;
  // Handles the bus alone, without the loop, until `done` says so or the time is over.
  virtual bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) = 0;
};

struct SystemdBusOptions {
  std::string private_socket = "/run/systemd/private";
  std::chrono::milliseconds call_timeout{5'000};
};
std::unique_ptr<SystemdBus> connect_systemd(AsioLoop& loop, SystemdBusOptions options);

}  // namespace hawser::proxy
