// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

namespace hawser::certs {

enum class TlsCause { kNone, kUnreachable, kNotTls, kWrongRoot, kWrongName, kOutOfDate, kRefused, kProxy };

struct TlsFinding {
  TlsCause cause = TlsCause::kNone;
  std::string detail;    // a clause for the operator, e.g. "connection refused by 10.0.0.1:15012"
  int proxy_status = 0;  // with kProxy: of the HTTP proxy's answer; 0: none
};

struct TlsTarget {
  std::string address;      // host:port or [v6]:port, as dialled
  std::string server_name;  // as verified
  std::string roots_pem;
  std::string connect_to{};           // host:port that the HTTP proxy at `address` is asked for; empty: there is none
  std::string proxy_authorization{};  // for it
};

// What: why TLS to a server fails, found by a handshake of our own that presents nothing: gRPC reports wrong root,
// wrong name and refused alike as UNAVAILABLE. kNone: the server, its name and its certificate are as expected.
// Threading: blocking, up to `timeout` (and the resolver's own time if `address` is a name); on the slow worker.
// Failure: none; what can't be told apart is kRefused with OpenSSL's text.
TlsFinding probe_tls(const TlsTarget& target, std::chrono::milliseconds timeout);

}  // namespace hawser::certs
