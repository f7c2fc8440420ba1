// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "base/result.h"
#include "dial/route.h"

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
  // For the plane's first message, and for an answer to a request that must have one.
  std::chrono::milliseconds first_response_timeout{30'000};
  // Larger responses end the stream.
  std::size_t max_response = std::size_t{128} << 20;
  // A plane that has nothing new to say may be silent; it counts as connected when it hasn't objected for so long.
  std::chrono::milliseconds silence_is_consent{3'000};
  // How often the connection is asked whether the plane wants it to end. istiod gives 10 s between saying and doing so.
  std::chrono::milliseconds drain_poll{1'000};
  std::chrono::milliseconds backoff_base{200};
  std::chrono::milliseconds backoff_cap{15'000};
  // After a stream that had answered, the first retry is anywhere in this time (reconnect_policy.h).
  std::chrono::milliseconds reconnect_spread{0};
  // A stream that lived for so long is no failure: the back-off begins anew, and an alarm ends.
  std::chrono::milliseconds good_after{10'000};
};

// What a request lets expect of the plane.
struct Expectation {
  enum class Kind {
    kNothing,
    kMayBeSilent,   // all that it asks for is named with the version we have: there may be nothing newer
    kShouldAnswer,  // it asks for names that we don't have; planes differ in what they say of names unknown to them too
    kMustAnswer,    // it asks for all of a type, and we have nothing
  };
  Kind kind = Kind::kNothing;
  std::string what;
};

// Empty: only the token proves who we are.
struct Credentials {
  std::string key_pem;
  std::string chain_pem;
  // Whom to trust, in place of UpstreamOptions::roots_pem; empty: nobody is left, and nothing is dialled.
  std::optional<std::string> roots_pem{};
};

// What an attempt needs, asked for anew each time.
struct Material {
  Credentials credentials;
  Result<std::string> token = std::string();
  // None: options.dial_target.
  Result<std::optional<dial::Route>> route = std::optional<dial::Route>();
  bool elsewhere = false;  // the server has other addresses
};

}  // namespace hawser::xds
