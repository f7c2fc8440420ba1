// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

namespace hawser::certs {

// What: an HTTP proxy asked by CONNECT to lead to `target` (host:port), over a connected, non-blocking socket. Returns
// its status, of which 2xx means that the socket now is one to the target; 0: nothing that is HTTP came in time.
// `authorization`: the value of Proxy-Authorization, or nothing. Threading: blocking, until `deadline`.
int ask_for_tunnel(int fd, const std::string& target, const std::string& authorization,
                   std::chrono::steady_clock::time_point deadline);

}  // namespace hawser::certs
