// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace hawser::proxy {

struct ListeningEndpoint {
  std::string address;
  std::uint16_t port = 0;
  bool operator==(const ListeningEndpoint&) const = default;
};

// What: the TCP sockets that listen in this network namespace, both families, from the kernel (sock_diag(7)), which
// looks through its listening sockets only. Needs no privilege. Threading: any; it waits for the kernel alone. Failure:
// HWS-PX-008.
Result<std::vector<ListeningEndpoint>> observe_listening();

}  // namespace hawser::proxy
