// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/config.h"
#include "config/reader.h"

// What: sections of the schema that have a file of their own. Threading: none. Failure: into the reader's sink.
namespace hawser::config {

void read_workload(MapReader& map, Workload& workload);
void read_health(MapReader& map, Health& health);
void read_interception(MapReader& map, Interception& interception);
// ca, identity, trust, exports and sds, which are read together.
void read_identity(MapReader& root, Config& config);

// What can't be seen in one key.
void check_registration(const Config& config, std::vector<Error>& errors);
void check_identity(const Config& config, std::vector<Error>& errors);

}  // namespace hawser::config
