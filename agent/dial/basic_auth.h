// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dial/route.h"

namespace hawser::dial {

// What: the value of an Authorization header for user:password (RFC 7617). Threading: pure. Failure: none.
std::string basic_auth(const std::string& user_and_password);
// The same for the HTTP proxy of a route; empty: it wants none.
std::string proxy_authorization(const Route& route);

}  // namespace hawser::dial
