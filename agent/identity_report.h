// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "config/config.h"

namespace hawser {

class HostIdentity;

struct IdentityReportContext {
  Loop& loop;
  SlowWorker& slow;
  std::string state_dir;
};

// What: the document of `hawser identity show --json`: who this host is, what that rests on, and what happens when all
// of it has ended. It holds nothing that could be replayed. Threading: on the loop, as `done`; the disk is read on the
// slow worker. Failure: none; what can't be read isn't told.
void report_identity(IdentityReportContext context, const config::Config& config, const HostIdentity& identity,
                     std::function<void(Result<nlohmann::json>)> done);

// ca.type, as it is written in the configuration.
std::string ca_type(const config::Config& config);

// May what is on disk be dropped? HWS-AD-006: nothing would be left that proves who this host is. HWS-MB-001: the new
// token has ended already.
Status may_reset(const config::Config& config, const HostIdentity& identity, const std::string& token, bool force,
                 Loop::Wall now);

}  // namespace hawser
