// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

struct mnl_socket;

// What: a temporary pair of interfaces, both in this network namespace, both up: the host's end has kVethHostAddress/30
// (TEST-NET-1), its neighbour kVethPeerAddress is permanent, so that nobody has to answer ARP for it. Removed with the
// object; one that a crash left is replaced. Threading: blocking, milliseconds. Failure: HWS-NF-021.
namespace hawser::netfilter {

inline constexpr const char* kVethHostAddress = "192.0.2.1";
inline constexpr const char* kVethPeerAddress = "192.0.2.2";
inline constexpr unsigned char kVethHostMac[] = {0x02, 0x00, 0x68, 0x77, 0x73, 0x01};
inline constexpr unsigned char kVethPeerMac[] = {0x02, 0x00, 0x68, 0x77, 0x73, 0x02};

class VethPair {
 public:
  static Result<std::unique_ptr<VethPair>> make(const std::string& peer, const std::string& host);
  ~VethPair();
  VethPair(const VethPair&) = delete;
  VethPair& operator=(const VethPair&) = delete;

 private:
  VethPair(mnl_socket* socket, std::string peer) : socket_(socket), peer_(std::move(peer)) {}

  mnl_socket* socket_;
  std::string peer_;
};

}  // namespace hawser::netfilter
