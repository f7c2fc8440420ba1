// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

// What: which addresses this host tells the mesh, by a rule that can be said in a line: what is configured; else the
// source address of the route to the control plane, followed by one global address of the other family (its default
// route's source, else the first that an interface has). Choosing is pure. Threading: a few system calls, no packet is
// sent. Failure: HWS-AR-001 when the host has no usable address.
namespace hawser::bootstrap {

struct AddressFacts {
  std::optional<std::string> towards_plane;  // source address of that route
  std::optional<std::string> default_v4;     // source address of the default route
  std::optional<std::string> default_v6;
  std::vector<std::string> interfaces;  // in the kernel's order, of interfaces that are up
};

// Neither loopback nor link-local nor multicast; false for what is no address.
bool is_global(const std::string& address);

AddressFacts observe_addresses(const std::string& towards);
Result<std::vector<std::string>> choose_addresses(const std::vector<std::string>& configured,
                                                  const AddressFacts& facts);

// Both, one after the other.
Result<std::vector<std::string>> own_addresses(const std::vector<std::string>& configured, const std::string& towards);

}  // namespace hawser::bootstrap
