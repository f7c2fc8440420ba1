// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace hawser::proxy {

// What: whether the kernel gives the connections that wait at a listening socket which closes to another one of the
// same port (reuse_port), rather than reset them: net.ipv4.tcp_migrate_req, Linux 5.14, off by default, of both IP
// versions. Threading: any; reads a file of /proc/sys. Failure: none; unreadable counts as off.
bool accept_queues_move();

}  // namespace hawser::proxy
