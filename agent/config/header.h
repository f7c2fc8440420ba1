// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"

namespace hawser::config {

// What: may this header be added to our calls? `name` in lower case. HTTP/2 refuses what isn't printable (gRPC ends the
// program over it), and what says who we are, or is the transport's own, isn't for configuration. Threading: pure.
// Failure: HWS-CF-004 without position.
Status check_header(const std::string& name, const std::string& value);
std::string lower_case(std::string text);

}  // namespace hawser::config
