// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"
#include "xds/options.h"

namespace hawser::xds {

// What: the end of an upstream stream as an operator can act on it. Threading: pure.
// HWS-XDS-001 unreachable · 002 untrusted certificate · 003 name isn't in the certificate · 004 not authenticated ·
// 005 not allowed · 006 no such WorkloadGroup, or another precondition · 007 the plane limits connections · 010 other.
Error make_upstream_error(int grpc_code, const std::string& message, const UpstreamOptions& options);

// The plane answers, and ends its streams soon after, `count` times in a row.
Error make_short_streams_error(unsigned count, const std::string& message, const UpstreamOptions& options);

}  // namespace hawser::xds
