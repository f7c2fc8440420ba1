// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace hawser::dial {

// What: one way to a server, ready to be dialled: no name is left to be looked up on this host. Threading: a value.
struct Route {
  std::string address;         // host:port that the connection is made to: the server's own, or an HTTP proxy's
  std::string connect_to;      // host:port that the HTTP proxy is asked for; empty: there is none
  std::string proxy_password;  // user:password for it, a secret; empty: none
  unsigned priority = 0;       // 0 is the first choice

  // For people: never the password.
  std::string text() const { return connect_to.empty() ? address : connect_to + " by way of " + address; }
  // The server as configured or looked up, without the way there.
  const std::string& server() const { return connect_to.empty() ? address : connect_to; }
  bool operator==(const Route& other) const {
    return address == other.address && connect_to == other.connect_to && priority == other.priority;
  }
};

}  // namespace hawser::dial
