// SPDX-License-Identifier: Apache-2.0
#include "machine_shutdown.h"

#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "base/log.h"
#include "mesh_proxy.h"
#include "registration.h"

namespace hawser {
namespace {

constexpr std::chrono::seconds kMostWithdraw{3};

struct CloseBus {
  void operator()(sd_bus* bus) const { sd_bus_flush_close_unref(bus); }
};

bool failed(const char* what) {
  log::warn("can't ask whether the machine shuts down: the proxy is left alone", {{"error", what}});
  return false;
}

}  // namespace

bool machine_shuts_down(std::chrono::milliseconds limit) {
  if (sd_booted() <= 0) return false;
  sd_bus* raw = nullptr;
  if (const int r = sd_bus_open_system(&raw); r < 0) return failed(std::strerror(-r));
  const std::unique_ptr<sd_bus, CloseBus> bus(raw);
  // The connection's own greeting counts as well.
  sd_bus_set_method_call_timeout(raw, static_cast<std::uint64_t>(std::chrono::microseconds(limit).count()));
  char* state = nullptr;
  sd_bus_error error = SD_BUS_ERROR_NULL;
  const int r = sd_bus_get_property_string(raw, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager", "SystemState", &error, &state);
  const bool answer =
      r >= 0 ? std::string(state) == "stopping" : failed(error.message != nullptr ? error.message : std::strerror(-r));
  sd_bus_error_free(&error);
  std::free(state);  // NOLINT: sd-bus allocates with malloc
  return answer;
}

void take_down(Registration* registration, MeshProxy* proxy, const config::Config& config, std::function<void()> done) {
  log::info("the machine shuts down: withdrawing from the mesh, then the proxy drains");
  auto drain = [proxy, time = config.proxy.shutdown_drain, done = std::move(done)] {
    if (proxy == nullptr) return done();
    proxy->supervisor().stop(time, [done](const Status& stopped) {
      if (!stopped) log::warn("the proxy isn't stopped", {{"error", stopped.error().to_string()}});
      done();
    });
  };
  if (registration == nullptr) return drain();
  registration->withdraw(std::min<config::Millis>(config.workload.withdraw_wait, kMostWithdraw), std::move(drain));
}

std::chrono::seconds take_down_bound(const config::Config& config) {
  return kMostWithdraw + config.proxy.shutdown_drain;
}

}  // namespace hawser
