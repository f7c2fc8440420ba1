// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"
#include "bootstrap/onboarding.h"

// What: mesh.yaml of a bundle (defaultConfig: an Istio ProxyConfig) → the fields of Bundle that come from it. Pure;
// `path` is what errors call the file. Failure: HWS-ON-004, HWS-ON-007, with file:line:column.
namespace hawser::bootstrap {

Status parse_mesh_yaml(const std::string& text, const std::string& path, Bundle& bundle);

}  // namespace hawser::bootstrap
