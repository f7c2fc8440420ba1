// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/guard.h"

#include "netfilter/resolvers.h"
#include "netfilter/ssh_guard.h"

namespace hawser::netfilter {

Guard observe_guard() {
  Guard guard;
  guard.ssh_ports = observe_ssh_ports();
  observe_resolvers(guard);
  return guard;
}

}  // namespace hawser::netfilter
