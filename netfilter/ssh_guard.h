// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

// What: on which ports SSH is served here, by all that shows it: sshd's configuration (sshd_config.h), what listens in
// the cgroups of ssh units or belongs to a process called sshd, the `Listen` lines of socket units that start one, and
// the local ports of live sessions, which may be of an sshd that has moved. Threading: blocking, milliseconds; reads
// /proc. Failure: what can't be seen names no port; 22 is left alone anyhow.
namespace hawser::netfilter {

// ListenStream= of a socket unit (systemd.socket(5)).
std::vector<std::uint16_t> parse_listen_ports(const std::string& unit);

// Sorted, at most 64.
std::vector<std::uint16_t> observe_ssh_ports();

}  // namespace hawser::netfilter
