// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "netfilter/netlink.h"
#include "netfilter/nft_listing.h"

// What: which tables nftables has, with their comments, and how many rules of ours are in them, by a question each:
// tens of microseconds, where libnftables fetches and writes out all that is in a table. Facts:
// linux/netfilter/nf_tables.h; a comment is what libnftnl writes into a table's or a rule's user data. Threading:
// blocking, microseconds. Failure: HWS-NF-010 (not permitted), HWS-NF-011 (no nf_tables), HWS-NF-012.
namespace hawser::netfilter {

class NftTables {
 public:
  // `socket` is of NETLINK_NETFILTER.
  static Result<NftTables> observe(NetlinkSocket& socket);

  // `families` are "inet", "ip", "ip6": in any of them.
  bool has(const std::vector<std::string>& families, const std::string& table) const;
  // In all of them.
  bool have_comment(const std::vector<std::string>& families, const std::string& table,
                    const std::string& comment) const;

 private:
  std::map<std::pair<std::string, std::string>, std::string> comments_;  // by family and name
};

// How many of a table's rules have a comment of ours ("out:…", "in:…"), by chain; of several families together.
Result<std::map<std::string, std::size_t>> tagged_rules(NetlinkSocket& socket, const std::vector<std::string>& families,
                                                        const std::string& table);
// A table's named counters; of several families together.
Result<Counters> named_counters(NetlinkSocket& socket, const std::vector<std::string>& families,
                                const std::string& table);

}  // namespace hawser::netfilter
