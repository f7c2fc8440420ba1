// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "netfilter/intent.h"

// What: what the host shows that rules have to respect. Threading: blocking, milliseconds.
// Failure: none; what can't be seen isn't there: without sshd_config and sockets it's port 22 alone.
namespace hawser::netfilter {

Guard observe_guard();

}  // namespace hawser::netfilter
