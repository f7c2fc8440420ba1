// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "import/names.h"

namespace hawser::import {

// What the tools have in common, in our terms; each text as the configuration writes it.
struct Settings {
  bool inbound = false;
  bool outbound = false;
  bool tproxy = false;
  std::string tproxy_mark;  // empty: ours
  std::string tproxy_table;
  std::vector<std::string> inbound_ports;  // empty: all
  std::vector<std::string> inbound_exclude;
  std::vector<std::string> outbound_ports;
  std::vector<std::string> outbound_cidrs;
  std::vector<std::string> outbound_exclude_ports;
  std::vector<std::string> outbound_exclude_cidrs;
  std::vector<std::string> exempt_users;
  std::vector<std::string> exempt_groups;
  std::vector<std::string> groups_include;
  std::vector<std::string> groups_exclude;
  std::vector<std::string> exclude_interfaces;
  bool self_call = true;
  unsigned hbone_port = 0;
  bool drop_invalid = false;
  std::string dns;  // "resolvers" or "all"; empty: off
  unsigned dns_port = 0;
};

// Comma-separated lists of a value, without doubles. Failure: HWS-IM-003, HWS-IM-005 with the value's place.
enum class Kind { kPort, kCidr, kInterface, kUid, kOwner };
Status read_list(const Values& values, const std::string& key, Kind kind, std::vector<std::string>& out);
Status read_port(const Values& values, const std::string& key, unsigned& out);
// -b, -d, -i, -x, -q, -o, -c, -u, -g, -m and -t, which all scripts of this descent have.
Status read_common(const Values& values, Settings& out, std::vector<std::string>& warnings);

std::string to_yaml(const Settings& settings, const std::string& origin);

}  // namespace hawser::import
