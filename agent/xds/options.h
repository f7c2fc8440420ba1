// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace hawser::xds {

struct UpstreamOptions {
  std::string dial_target;  // as gRPC names it: "ipv4:10.77.0.10:15012", "dns:///host:port"
  std::string server_name;  // in the certificate and as the authority, whatever is dialled
  std::string roots_pem;
  std::string cluster_id;
  // istiod closes connections that ping more often than every 15 s while idle (its enforcement is half of its own 30
  // s), so this is as fast as a silent peer may be found out: 20 s.
  std::chrono::milliseconds keepalive_time{16'000};
  std::chrono::milliseconds keepalive_timeout{4'000};
  std::chrono::milliseconds connect_timeout{5'000};
  // From opening a stream to the plane's first message.
  std::chrono::milliseconds first_response_timeout{30'000};
  // Larger responses end the stream.
  std::size_t max_response = std::size_t{128} << 20;
  std::chrono::milliseconds backoff_base{200};
  std::chrono::milliseconds backoff_cap{15'000};
  // After a stream that had answered, the first retry is anywhere in this time (reconnect_policy.h).
  std::chrono::milliseconds reconnect_spread{0};
  // A stream that lived for so long is no failure: the back-off begins anew, and an alarm ends.
  std::chrono::milliseconds good_after{10'000};
};

// Empty: only the token proves who we are.
struct Credentials {
  std::string key_pem;
  std::string chain_pem;
};

}  // namespace hawser::xds
