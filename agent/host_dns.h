// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace hawser {

// What: of the host's DNS what interception depends on. Threading: reads small files of /proc and /etc. Failure: what
// can't be read isn't there.
// Is a UDP socket bound to this port of 127.0.0.1, or of ::1? An answer from any other address would reach programs
// with the wrong source.
bool dns_listener_bound(bool ipv6, std::uint16_t port);
// Changes when resolv.conf does, also when it's another file under the same name.
std::string resolv_conf_stamp();

}  // namespace hawser
