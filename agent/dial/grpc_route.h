// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dial/route.h"

namespace grpc {
class ChannelArguments;
}

namespace hawser::dial {

// What: a route as gRPC takes it. An HTTP proxy is asked by gRPC's own CONNECT handshaker, told so by arguments of this
// channel alone: no variable of the environment matters. Threading: pure. Failure: none.
std::string grpc_target(const Route& route);  // ipv4:10.0.0.1:15012, ipv6:[fd00::1]:15012
void apply_proxy(const Route& route, grpc::ChannelArguments& arguments);

}  // namespace hawser::dial
