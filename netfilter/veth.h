// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

// What: a temporary pair of interfaces, both in this network namespace, both up: the host's end has kVethHostAddress/30
// (TEST-NET-1, RFC 5737) and, where IPv6 is on, kVethHostAddress6/126 (RFC 3849), which no program here chooses as its
// own, since it's deprecated from the start. Their neighbours are permanent, so that nobody has to answer for them.
// Removed with the object; one that a crash left is replaced. Threading: blocking, milliseconds. Failure: HWS-NF-021.
namespace hawser::netfilter {

inline constexpr const char* kVethHostAddress = "192.0.2.1";
inline constexpr const char* kVethPeerAddress = "192.0.2.2";
inline constexpr const char* kVethHostAddress6 = "2001:db8:6877:7301::1";
inline constexpr const char* kVethPeerAddress6 = "2001:db8:6877:7301::2";
inline constexpr unsigned char kVethHostMac[] = {0x02, 0x00, 0x68, 0x77, 0x73, 0x01};
inline constexpr unsigned char kVethPeerMac[] = {0x02, 0x00, 0x68, 0x77, 0x73, 0x02};

class VethPair {
 public:
  static Result<std::unique_ptr<VethPair>> make(const std::string& peer, const std::string& host);
  ~VethPair();
  VethPair(const VethPair&) = delete;
  VethPair& operator=(const VethPair&) = delete;

  // Why the host's end has no IPv6 address; empty: it has.
  const std::string& without_ipv6() const { return without_ipv6_; }

 private:
  explicit VethPair(std::string peer) : peer_(std::move(peer)) {}

  std::string peer_;
  std::string without_ipv6_;
};

}  // namespace hawser::netfilter
