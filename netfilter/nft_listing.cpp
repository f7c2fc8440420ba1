// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/nft_listing.h"

#include <algorithm>
#include <sstream>

namespace hawser::netfilter {
namespace {

constexpr std::string_view kDigestTag = "comment \"sha256:";

// "sha256:DIGEST" or "sha256:DIGEST GENERATION".
void read_comment(const std::string& line, Listing& out) {
  const auto at = line.find(kDigestTag);
  if (at == std::string::npos) return;
  const auto start = at + kDigestTag.size();
  const auto end = line.find('"', start);
  if (end == std::string::npos) return;
  const auto space = std::min(line.find(' ', start), end);
  out.digest = line.substr(start, space - start);
  if (space < end) out.generation = line.substr(space + 1, end - space - 1);
}

bool ends_with(const std::string& line, const std::string& tail) {
  return line.size() >= tail.size() && line.compare(line.size() - tail.size(), tail.size(), tail) == 0;
}

// A rule's comment is the last thing on its line, and ours start with the direction.
bool is_rule(const std::string& line) {
  const bool tagged =
      line.find(" comment \"out:") != std::string::npos || line.find(" comment \"in:") != std::string::npos;
  return tagged && ends_with(line, "\"");
}

}  // namespace

Listing parse_listing(const std::string& text) {
  Listing out;
  std::istringstream lines(text);
  std::string line;
  std::string counter;
  std::string chain;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (out.digest.empty()) read_comment(line, out);
    if (is_rule(line)) {  // it may begin with "counter", too
      ++out.rules[chain];
    } else if (first == "counter") {
      words >> counter;
    } else if (first == "chain") {
      words >> chain;
    } else if (first == "packets" && !counter.empty()) {
      Traffic traffic;
      std::string name;
      words >> traffic.packets >> name >> traffic.bytes;
      out.counters[counter].packets += traffic.packets;
      out.counters[counter].bytes += traffic.bytes;
      counter.clear();
    }
  }
  return out;
}

}  // namespace hawser::netfilter
