// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/sshd_config.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "base/file.h"

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxConfig = 1U << 20U;
constexpr std::size_t kMaxDropIns = 64;

std::uint16_t port_of(const std::string& text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() ? port : std::uint16_t{0};
}

// "1.2.3.4:22", "[::]:22" and "host:22" name a port; a bare address, also an IPv6 one, doesn't.
std::uint16_t port_of_address(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return 0;
  if (text.find(':') != colon && text[colon - 1] != ']') return 0;
  return port_of(text.substr(colon + 1));
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return text;
}

void add_file(const std::string& path, std::vector<std::uint16_t>& ports) {
  auto content = file::read_bounded(path, kMaxConfig);
  if (!content) return;
  for (const std::uint16_t port : parse_ssh_ports(*content)) ports.push_back(port);
}

}  // namespace

std::vector<std::uint16_t> parse_ssh_ports(const std::string& sshd_config) {
  std::vector<std::uint16_t> out;
  std::istringstream lines(sshd_config);
  std::string line;
  while (std::getline(lines, line)) {
    // `Port=22` and `Port 22` are the same to sshd.
    std::replace(line.begin(), line.end(), '=', ' ');
    std::istringstream words(line);
    std::string key;
    std::string value;
    words >> key >> value;
    key = lower(key);
    std::uint16_t port = 0;
    if (key == "port") port = port_of(value);
    if (key == "listenaddress") port = port_of_address(value);
    if (port != 0 && std::find(out.begin(), out.end(), port) == out.end()) out.push_back(port);
  }
  return out;
}

std::vector<std::uint16_t> configured_ssh_ports() {
  std::vector<std::uint16_t> out;
  add_file("/etc/ssh/sshd_config", out);
  std::error_code error;
  std::size_t seen = 0;
  for (std::filesystem::directory_iterator at("/etc/ssh/sshd_config.d", error), end;
       !error && at != end && seen < kMaxDropIns; at.increment(error), ++seen)
    if (at->path().extension() == ".conf") add_file(at->path().string(), out);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace hawser::netfilter
