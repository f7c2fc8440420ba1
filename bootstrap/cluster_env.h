// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "base/result.h"

// What: cluster.env of a bundle, the lines KEY='value' that the stock start script sources. They are read with the
// shell's quoting rules and never run: what a shell would expand is refused. Pure; `path` is what errors call the file.
// Failure: HWS-ON-005 with file:line.
namespace hawser::bootstrap {

Result<std::map<std::string, std::string>> parse_cluster_env(const std::string& text, const std::string& path);

}  // namespace hawser::bootstrap
