// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace hawser::proxy {

// What: what a proxy wrote to its log, for the operator: of a line that is JSON the message, other lines as they are.
// Pure; any bytes.
std::string proxy_words(const std::string& output);
// Envoy's --log-format for a JSON document a line. Its panics stay plain text all the same.
extern const char* const kJsonLogFormat;

}  // namespace hawser::proxy
