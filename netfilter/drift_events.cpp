// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/drift_events.h"

#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace hawser::netfilter {
namespace {

// A firewall that is reloaded sends thousands of events at once.
constexpr int kReceiveBuffer = 1 << 20;
constexpr std::size_t kMaxTables = 64;
// Of one read(): the rest is read at the next turn of the loop.
constexpr int kMaxDatagrams = 256;
// In every message of a table's parts, the table's name is attribute 1: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE,
// NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_OBJ_TABLE, NFTA_FLOWTABLE_TABLE, NFTA_SET_ELEM_LIST_TABLE.
constexpr std::uint16_t kFirstAttribute = NFTA_TABLE_NAME;
std::string text_of(const nlattr* attribute) {
  const auto* text = static_cast<const char*>(::mnl_attr_get_payload(attribute));
  const std::string all(text, ::mnl_attr_get_payload_len(attribute));
  return all.substr(0, all.find('\0'));
}

struct Wanted {
  std::uint16_t type = 0;
  std::string text;
};

int on_attribute(const nlattr* attribute, void* data) {
  auto& wanted = *static_cast<Wanted*>(data);
  if (::mnl_attr_get_type(attribute) != wanted.type) return MNL_CB_OK;
  wanted.text = text_of(attribute);
  return MNL_CB_STOP;
}

// The text of one attribute; empty without it.
std::string find_text(const nlmsghdr* header, std::uint16_t type) {
  Wanted wanted{type, {}};
  (void)::mnl_attr_parse(header, sizeof(nfgenmsg), on_attribute, &wanted);
  return wanted.text;
}

struct Reading {
  Change& pending;
  std::vector<Change>& out;
};

int on_message(const nlmsghdr* header, void* data) {
  auto& reading = *static_cast<Reading*>(data);
  if (::mnl_nlmsg_get_payload_len(header) < sizeof(nfgenmsg)) return MNL_CB_OK;
  const unsigned type = header->nlmsg_type & 0xffU;
  if ((header->nlmsg_type >> 8U) != NFNL_SUBSYS_NFTABLES) return MNL_CB_OK;
  if (type == NFT_MSG_NEWGEN) {
    reading.pending.program = find_text(header, NFTA_GEN_PROC_NAME);
    reading.pending.port_id = header->nlmsg_pid;
    reading.out.push_back(std::move(reading.pending));
    reading.pending = {};
    return MNL_CB_OK;
  }
  std::string table = find_text(header, kFirstAttribute);
  auto& tables = reading.pending.tables;
  if (!table.empty() && tables.size() < kMaxTables && std::find(tables.begin(), tables.end(), table) == tables.end())
    tables.push_back(std::move(table));
  return MNL_CB_OK;
}

}  // namespace

Result<std::unique_ptr<DriftEvents>> DriftEvents::make() {
  const auto cannot = [](int err) {
    return errno_error(err, "HWS-NF-110", "the kernel's events about nftables can't be heard",
                       "changes by others are found by looking, within seconds; needs CAP_NET_ADMIN");
  };
  mnl_socket* socket = ::mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (socket == nullptr) return cannot(errno);
  std::unique_ptr<DriftEvents> out(new DriftEvents(socket));
  const int fd = ::mnl_socket_get_fd(socket);
  // Beyond rmem_max, where we may.
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer);
  if (::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) return cannot(errno);
  int group = NFNLGRP_NFTABLES;
  if (::mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) return cannot(errno);
  return out;
}

DriftEvents::~DriftEvents() {
  ::mnl_socket_close(socket_);
}

int DriftEvents::fd() const {
  return ::mnl_socket_get_fd(socket_);
}

std::vector<Change> DriftEvents::read() {
  std::vector<Change> out;
  Reading reading{pending_, out};
  alignas(nlmsghdr) std::array<char, 65536> buffer{};
  for (int i = 0; i < kMaxDatagrams; ++i) {
    const ssize_t n = ::recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ENOBUFS) {
      pending_ = {};
      out.push_back({});
      out.back().lost = true;
      continue;
    }
    if (n <= 0) break;
    (void)::mnl_cb_run(buffer.data(), static_cast<std::size_t>(n), 0, 0, on_message, &reading);
  }
  return out;
}

}  // namespace hawser::netfilter
