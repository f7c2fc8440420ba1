// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/nft_listing.h"

#include <sstream>

namespace hawser::netfilter {
namespace {

constexpr std::string_view kDigestTag = "comment \"sha256:";

std::string digest_in(const std::string& line) {
  const auto at = line.find(kDigestTag);
  if (at == std::string::npos) return {};
  const auto start = at + kDigestTag.size();
  const auto end = line.find('"', start);
  return end == std::string::npos ? std::string() : line.substr(start, end - start);
}

bool ends_with(const std::string& line, const std::string& tail) {
  return line.size() >= tail.size() && line.compare(line.size() - tail.size(), tail.size(), tail) == 0;
}

// A rule's comment is the last thing on its line, and ours start with the direction.
bool is_rule(const std::string& line, const std::string& direction) {
  return line.find(" comment \"" + direction + ":") != std::string::npos && ends_with(line, "\"");
}

}  // namespace

Listing parse_listing(const std::string& text) {
  Listing out;
  std::istringstream lines(text);
  std::string line;
  std::string counter;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (out.digest.empty()) out.digest = digest_in(line);
    if (first == "counter") {
      words >> counter;
    } else if (first == "packets" && !counter.empty()) {
      Traffic traffic;
      std::string name;
      words >> traffic.packets >> name >> traffic.bytes;
      out.counters[counter] = traffic;
      counter.clear();
    } else if (is_rule(line, "out")) {
      ++out.output_rules;
    } else if (is_rule(line, "in")) {
      ++out.prerouting_rules;
    }
  }
  return out;
}

}  // namespace hawser::netfilter
