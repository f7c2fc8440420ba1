// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/asio_loop.h"
#include "base/metrics.h"
#include "certs/ca_client.h"
#include "config/config.h"
#include "dial/dialler.h"

namespace hawser {

// What: the CaClient that ca.type chooses, and the dialler that it uses, if it does. Threading: on the loop.
// Failure: none; what is wrong shows when it is asked.
struct CaSource {
  std::unique_ptr<dial::Dialler> dialler;
  std::unique_ptr<certs::CaClient> client;
};

struct CaContext {
  AsioLoop& loop;
  SlowWorker& slow;
  Metrics& metrics;
  // Whom the CA's server must be certified by, now, where this root was configured (Trust::server_roots).
  std::function<std::string(const std::string& pinned)> server_roots{};
};

// Whom it must certify.
certs::ExpectedId expected_id(const config::Config& config);

CaSource make_ca_source(const CaContext& context, const config::Config& config,
                        std::optional<dial::Selection::Proxy> proxy);

}  // namespace hawser
