// SPDX-License-Identifier: Apache-2.0
#include "dial/proxy_error.h"

#include <charconv>
#include <string_view>

namespace hawser::dial {
namespace {

// http_connect_handshaker.cc of gRPC 1.51.
constexpr std::string_view kAnswered = "HTTP proxy returned response code ";

}  // namespace

Error make_proxy_error(int status, const Route& route) {
  const std::string who = "the HTTP proxy at " + route.address;
  if (status == 0)
    return Error(Code::kUnavailable, "HWS-DL-008", who + " doesn't answer CONNECT as an HTTP proxy does",
                 "check that control_plane.http_proxy is the proxy's HTTP port");
  // tinyproxy says 401 to a wrong password.
  if (status == 407 || status == 401) {
    const bool shown = !route.proxy_password.empty();
    return Error(Code::kUnauthenticated, "HWS-DL-005",
                 who + (shown ? " doesn't accept the user and password (407)" : " wants a user and a password (407)"),
                 shown ? "correct the file that control_plane.http_proxy_credentials names, and restart hawser"
                       : "put user:password into a file and name it as control_plane.http_proxy_credentials");
  }
  const std::string code = " (" + std::to_string(status) + ")";
  if (status == 403)
    return Error(Code::kPermissionDenied, "HWS-DL-006", who + " doesn't allow CONNECT to " + route.connect_to + code,
                 "let the proxy allow CONNECT to that host and port for this host");
  return Error(Code::kUnavailable, "HWS-DL-006", who + " doesn't lead to " + route.connect_to + code,
               "check from the proxy's host that it reaches that address; its log tells more");
}

std::optional<Error> proxy_error(const std::string& grpc_message, const Route& route) {
  if (route.connect_to.empty()) return std::nullopt;
  if (const auto at = grpc_message.find(kAnswered); at != std::string::npos) {
    int status = 0;
    const char* begin = grpc_message.data() + at + kAnswered.size();
    std::from_chars(begin, grpc_message.data() + grpc_message.size(), status);
    return make_proxy_error(status, route);
  }
  const auto says = [&](std::string_view part) { return grpc_message.find(part) != std::string::npos; };
  if (says("Connection refused") || says("No route to host") || says("Network is unreachable"))
    return Error(Code::kUnavailable, "HWS-DL-004", "the HTTP proxy at " + route.address + " can't be reached",
                 "check control_plane.http_proxy, the proxy and the firewalls on the way to it");
  return std::nullopt;
}

}  // namespace hawser::dial
