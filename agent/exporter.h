// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/asio_loop.h"
#include "base/health.h"
#include "base/metrics.h"
#include "certs/identity.h"
#include "config/config.h"

namespace hawser {

// What: keeps `exports:` of the configuration as the identity in force is (certs/export.h).
// Threading: on the loop; files on the slow worker, one export after the other. Failure: never holds the identity up.
// The health item "exports" names folder, cause and fix (HWS-XP-001 to -003, HWS-CF-... of an unknown group), and what
// failed is tried again by back-off, up to a minute apart.
// Metrics: hawser_exports_total{result}.
class Exporter {
 public:
  Exporter(Loop& loop, SlowWorker& slow, HealthSink& health, Metrics& metrics,
           std::vector<config::ExportSettings> exports);
  ~Exporter();
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  void publish(const certs::IdentityPtr& identity, const std::string& roots_pem);
  void stop();
  // After stop(): takes away what was exported.
  void erase(std::function<void(Status)> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser
