// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

struct mnl_socket;

// What: the kernel's own word of each change of nftables in this network namespace, on a multicast socket of its own
// (NFNLGRP_NFTABLES, linux/netfilter/nfnetlink.h), which never waits and never asks. iptables-legacy and an owner that
// vanishes send none. Threading: none of its own; whoever watches fd() calls read(). Failure: HWS-NF-110 (no socket;
// needs CAP_NET_ADMIN). Events that were lost, because too many came at once, are one Change with `lost`.
namespace hawser::netfilter {

// One transaction (NFT_MSG_NEWGEN and what came before it).
struct Change {
  std::uint32_t port_id = 0;  // of the socket that asked for it
  std::string program;        // its process' name, which the process may choose (NFTA_GEN_PROC_NAME)
  std::vector<std::string> tables;
  bool lost = false;
};

class DriftEvents {
 public:
  static Result<std::unique_ptr<DriftEvents>> make();
  ~DriftEvents();
  DriftEvents(const DriftEvents&) = delete;
  DriftEvents& operator=(const DriftEvents&) = delete;

  int fd() const;
  // All that has arrived.
  std::vector<Change> read();

 private:
  explicit DriftEvents(mnl_socket* socket) : socket_(socket) {}

  mnl_socket* socket_;
  Change pending_;  // until its NFT_MSG_NEWGEN
};

}  // namespace hawser::netfilter
