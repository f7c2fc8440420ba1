// SPDX-License-Identifier: Apache-2.0
#include "dial/grpc_route.h"

#include <grpcpp/support/channel_arguments.h>

#include "dial/basic_auth.h"

namespace hawser::dial {
namespace {

// Read by the handshaker that every TCP connection of gRPC 1.51 passes; its own environment logic sets the same two.
constexpr char kConnectServer[] = "grpc.http_connect_server";
constexpr char kConnectHeaders[] = "grpc.http_connect_headers";

}  // namespace

std::string grpc_target(const Route& route) {
  return (route.address.starts_with('[') ? "ipv6:" : "ipv4:") + route.address;
}

void apply_proxy(const Route& route, grpc::ChannelArguments& arguments) {
  if (route.connect_to.empty()) return;
  arguments.SetString(kConnectServer, route.connect_to);
  if (!route.proxy_password.empty())
    arguments.SetString(kConnectHeaders, "Proxy-Authorization:" + proxy_authorization(route));
}

}  // namespace hawser::dial
