// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/loop.h"
#include "certs/crl.h"
#include "certs/trust_bundle.h"
#include "config/config.h"

namespace hawser {

// What: the document of `hawser trust show --json`. `shift` leads from the bundle's clock to the wall's. Pure.
nlohmann::json trust_json(const certs::TrustBundle& bundle, const certs::CrlVerdict& crl,
                          const config::TrustSettings& settings, Loop::Duration shift);

}  // namespace hawser
