// SPDX-License-Identifier: Apache-2.0
#include "xds/upstream_error.h"

#include <initializer_list>
#include <string_view>

namespace hawser::xds {
namespace {

bool says(const std::string& message, std::initializer_list<std::string_view> any) {
  for (const auto part : any) {
    if (message.find(part) != std::string::npos) return true;
  }
  return false;
}

// gRPC reports everything before the first byte of HTTP/2 as Unavailable; only its text tells TLS from TCP.
Error unavailable(const std::string& message, const UpstreamOptions& options) {
  const std::string who = "the control plane at " + options.dial_target;
  if (says(message, {"is not in peer certificate", "Hostname Verification Check failed", "hostname mismatch"})) {
    return Error(Code::kUnavailable, "HWS-XDS-003", "the certificate of " + who + " isn't for " + options.server_name,
                 "check the control plane's name in the onboarding bundle (discoveryAddress) against its certificate");
  }
  if (says(message, {"certificate verify failed", "CERTIFICATE_VERIFY_FAILED", "unable to get local issuer",
                     "self signed", "self-signed"})) {
    return Error(Code::kUnavailable, "HWS-XDS-002", "the certificate of " + who + " isn't signed by the pinned root",
                 "take a fresh root-cert.pem from the cluster; if it is fresh, something else answers at that address");
  }
  if (says(message, {"handshake", "handshaker", "SSL", "TLS"})) {
    return Error(
        Code::kUnavailable, "HWS-XDS-002", "no TLS session with " + who,
        "check that the port serves TLS (15012), and that the pinned root and the host's certificate are current");
  }
  return Error(Code::kUnavailable, "HWS-XDS-001", who + " can't be reached",
               "check the address, the route and the firewall between the host and the control plane");
}

// gRPC's own client says it like this; a server's complaint about our request begins with "grpc: received message".
bool too_large(const std::string& message) {
  return says(message, {"Received message larger than max"});
}

}  // namespace

Error make_upstream_error(int grpc_code, const std::string& message, const UpstreamOptions& options) {
  const Error cause(static_cast<Code>(grpc_code), "", message.empty() ? "no further detail" : message);
  const auto make = [&](std::string id, std::string what, std::string hint) {
    return Error(static_cast<Code>(grpc_code), std::move(id), std::move(what), std::move(hint)).because(cause);
  };
  switch (static_cast<Code>(grpc_code)) {
    case Code::kUnavailable:
      return unavailable(message, options).because(cause);
    case Code::kUnauthenticated:
      return make("HWS-XDS-004", "the control plane doesn't accept the host's credentials",
                  "the token is expired or made for another audience: create a new one and join again");
    case Code::kPermissionDenied:
      return make("HWS-XDS-005", "the control plane refuses this identity",
                  "namespace and service account of the bundle must be those of the host's certificate and token");
    case Code::kFailedPrecondition:
      return make("HWS-XDS-006", "the control plane refuses the registration",
                  "create the WorkloadGroup that the bundle names, in the bundle's namespace");
    case Code::kResourceExhausted:
      if (too_large(message)) {
        return make("HWS-XDS-040",
                    "a response of the control plane is larger than " + std::to_string(options.max_response >> 20) +
                        " MiB (control_plane.max_response_mib)",
                    "narrow what the host is sent (a Sidecar resource does), or raise the limit and the host's memory");
      }
      return make("HWS-XDS-007", "the control plane limits connections",
                  "nothing to do here: it is tried again, with pauses");
    default:
      return make("HWS-XDS-010", "the control plane closed the stream", "see the control plane's log");
  }
}

Error make_short_streams_error(unsigned count, const std::string& message, const UpstreamOptions& options) {
  return Error(Code::kUnavailable, "HWS-XDS-041",
               "the control plane at " + options.dial_target + " answers, but ended " + std::to_string(count) +
                   " streams in a row within " +
                   std::to_string(std::chrono::duration_cast<std::chrono::seconds>(options.good_after).count()) + " s",
               "see the control plane's log, and that of a load balancer before it")
      .because(Error(Code::kUnavailable, "", message.empty() ? "no further detail" : message));
}

}  // namespace hawser::xds
