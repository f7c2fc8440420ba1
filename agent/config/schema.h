// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/config.h"
#include "config/reader.h"

namespace hawser::config {

// Reads one document over what earlier ones set.
void read_document(MapReader& root, Config& config);
// What can't be seen in one key: completeness of a joined host.
void check_whole(const Config& config, std::vector<Error>& errors);

}  // namespace hawser::config
