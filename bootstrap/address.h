// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

// What: which addresses this host tells the mesh, by a rule that can be said in a line, and why no other. In order:
// a fixed list; else what interface, networks and family leave over; else the source address of the route to the
// control plane and one address of the other family. Where several are left in a family, the one that the route to the
// control plane (or the default route) uses is taken; a rule that was asked for and leaves a choice beyond that is an
// error, the default takes the lowest interface and address. Choosing is pure; the same facts give the same choice.
// Threading: a few system calls, no packet is sent. Failure: HWS-AR-001 no usable address at all, HWS-AR-002 the rule
// fits none, HWS-AR-003 it fits several; each names the candidates.
namespace hawser::bootstrap {

struct InterfaceAddress {
  std::string address;
  std::string interface;
  unsigned index = 0;    // of the interface
  std::string unusable;  // by the kernel's word: tentative, deprecated, temporary, failed; empty: fine
};

struct AddressFacts {
  std::optional<std::string> towards_plane;  // source address of that route
  std::optional<std::string> default_v4;     // source address of the default route
  std::optional<std::string> default_v6;
  std::vector<InterfaceAddress> interfaces;  // of those that are up
};

struct AddressRule {
  enum class Family { kAny, kV4, kV6, kDual };  // any: what there is; dual: both, or none
  std::vector<std::string> fixed;
  std::string interface;
  std::vector<std::string> cidrs;
  Family family = Family::kAny;
};
std::string to_string(const AddressRule& rule);

struct AddressChoice {
  struct Rejected {
    std::string address;
    std::string interface;
    std::string reason;
  };
  std::vector<std::string> addresses;  // the one that the plane registers comes first
  std::string rule;
  std::vector<Rejected> rejected;  // in the order of interfaces
};

// Neither loopback nor link-local nor multicast; false for what is no address.
bool is_global(const std::string& address);
bool is_ipv6(const std::string& address);

AddressFacts observe_addresses(const std::string& towards);
Result<AddressChoice> choose_addresses(const AddressRule& rule, const AddressFacts& facts);

}  // namespace hawser::bootstrap
