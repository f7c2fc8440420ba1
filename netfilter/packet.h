// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "netfilter/address.h"

// What: one packet, as the rules of a plan can see it. Pure. Threading, failure: none.
namespace hawser::netfilter {

enum class Transport { kTcp, kUdp, kOther };

// Of the packet's connection, by connection tracking (nf_conntrack(7)).
enum class State {
  kFirst,      // this packet begins it: a SYN, or the first datagram
  kMidstream,  // TCP; tracking never saw its beginning, and takes this packet for its first
  kEstablished,
  kInvalid,  // TCP; it fits to no connection
};

// Parts without a value aren't known; whoever asks then learns what depends on them.
struct Packet {
  bool outgoing = true;  // this host's own; else it arrives from another host
  Transport transport = Transport::kTcp;
  std::optional<Cidr> source;  // single addresses
  Cidr destination;
  std::optional<std::uint16_t> source_port;
  std::uint16_t destination_port = 0;
  State state = State::kFirst;
  // The destination is an address of this host. What goes out to it goes through lo, and comes in there again.
  bool local = false;
  std::optional<std::string> interface;  // the one it leaves or enters by
  std::optional<std::uint32_t> uid;      // of the socket's owner
  std::optional<std::uint32_t> gid;
  std::optional<std::string> cgroup;  // of cgroup v2, without the leading slash
  std::uint32_t mark = 0;
  std::uint32_t connection_mark = 0;
};

}  // namespace hawser::netfilter
