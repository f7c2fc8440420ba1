// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

// What: the addresses that names last led to, for a boot at which no name server answers. Beside the snapshot, and
// erased with it. Threading: blocking; on the slow worker. Failure: HWS-SN-002 (damaged), those of base/file.h; without
// the file nothing is known, which is no failure. Bounded: kMostNames names, kMostAddresses each.
namespace hawser::xds::snapshot {

inline constexpr std::size_t kMostNames = 32;
inline constexpr std::size_t kMostAddresses = 64;

struct KnownAddresses {
  std::vector<std::string> addresses;
  Loop::Wall seen;
};
using AddressBook = std::map<std::string, KnownAddresses>;

Result<AddressBook> parse_addresses(std::string_view bytes);
std::string build_addresses(const AddressBook& book);
Result<AddressBook> load_addresses(const std::string& folder);
// Writes only what is news: the same addresses with a later time are no news.
Status remember_addresses(const std::string& folder, const std::string& host, const KnownAddresses& known);

}  // namespace hawser::xds::snapshot
