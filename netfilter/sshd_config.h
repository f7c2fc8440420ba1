// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

// What: where sshd listens, by its configuration (sshd_config(5)): all that can be known without asking the kernel.
// Threading: blocking file reads. Failure: what is missing or unreadable names no port.
namespace hawser::netfilter {

// The `Port` and `ListenAddress` lines of one file.
std::vector<std::uint16_t> parse_ssh_ports(const std::string& sshd_config);
// Of /etc/ssh/sshd_config, of what it includes, and of its drop-ins.
std::vector<std::uint16_t> configured_ssh_ports();

}  // namespace hawser::netfilter
