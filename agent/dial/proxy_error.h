// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "dial/route.h"

namespace hawser::dial {

// What: why an HTTP proxy didn't lead through. HWS-DL-004 it isn't reachable, -005 it wants (other) credentials, -006
// it doesn't let us there or can't get there, -008 what answers is no HTTP proxy, or it doesn't answer.
// Threading: pure. Failure: none.
// `status`: of its answer to CONNECT; 0: none that is HTTP.
Error make_proxy_error(int status, const Route& route);
// From gRPC's text; nullopt: the proxy isn't to blame, as far as it says.
std::optional<Error> proxy_error(const std::string& grpc_message, const Route& route);

}  // namespace hawser::dial
