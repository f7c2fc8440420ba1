// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/inet_diag.h>
#include <linux/netlink.h>

#include <cstdint>
#include <functional>

#include "base/result.h"

namespace hawser::proxy {

struct TcpQuery {
  std::uint32_t states = 0;     // 1 << TCP_LISTEN and others, netinet/tcp.h
  std::uint16_t port = 0;       // the local one; 0: any
  std::uint8_t extensions = 0;  // 1 << (INET_DIAG_INFO - 1) and others
};

// What: the TCP sockets of this network namespace, both families, from the kernel (sock_diag(7), linux/inet_diag.h),
// which looks only through those that are asked for. `visit` gets the message and its attributes. Needs no privilege.
// Threading: any; it waits for the kernel alone, a second at most. Failure: HWS-PX-008.
Status visit_tcp(const TcpQuery& query, const std::function<void(const inet_diag_msg&, const nlmsghdr&)>& visit);

}  // namespace hawser::proxy
