// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "bootstrap/node.h"
#include "config/config.h"
#include "host_facts.h"

// What: configuration and facts of the host → what the bootstrap's pure functions want. Pure.
namespace hawser {

bootstrap::NodeOptions node_options(const config::Config& config, const HostFacts& facts);
std::string proxy_bootstrap(const config::Config& config, const HostFacts& facts, const std::string& run_dir,
                            const std::string& generation);
// What a gRPC program starts with (bootstrap/grpc_bootstrap.h).
std::string program_bootstrap(const config::Config& config, const HostFacts& facts, const std::string& run_dir);

}  // namespace hawser
