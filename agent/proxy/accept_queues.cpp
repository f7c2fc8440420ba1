// SPDX-License-Identifier: Apache-2.0
#include "proxy/accept_queues.h"

#include "base/file.h"

namespace hawser::proxy {

bool accept_queues_move() {
  const auto text = file::read_bounded("/proc/sys/net/ipv4/tcp_migrate_req", 16);
  return text && !text->empty() && text->front() != '0';
}

}  // namespace hawser::proxy
