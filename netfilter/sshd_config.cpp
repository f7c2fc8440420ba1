// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/sshd_config.h"

#include <glob.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/file.h"

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxConfig = 1U << 20U;
constexpr std::size_t kMaxFiles = 256;
constexpr int kMaxDepth = 16;  // as sshd has it

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

// `Include` takes patterns, relative ones below /etc/ssh; what is included may include.
struct Reader {
  std::vector<std::uint16_t> ports;
  std::size_t files = 0;

  void read(const std::string& path, int depth) {
    if (depth > kMaxDepth || ++files > kMaxFiles) return;
    auto content = file::read_bounded(path, kMaxConfig);
    if (!content) return;
    for (const std::uint16_t port : parse_ssh_ports(*content)) ports.push_back(port);
    for (const std::string& pattern : includes(*content)) read_all(pattern, depth + 1);
  }

  void read_all(const std::string& pattern, int depth) {
    glob_t found{};
    const std::string path = pattern.front() == '/' ? pattern : "/etc/ssh/" + pattern;
    if (::glob(path.c_str(), 0, nullptr, &found) == 0)
      for (std::size_t i = 0; i < found.gl_pathc; ++i) read(found.gl_pathv[i], depth);
    ::globfree(&found);
  }

  static std::vector<std::string> includes(const std::string& content) {
    std::vector<std::string> out;
    std::istringstream lines(content);
    std::string line;
    while (std::getline(lines, line)) {
      std::replace(line.begin(), line.end(), '=', ' ');
      std::replace(line.begin(), line.end(), '"', ' ');
      std::istringstream words(line);
      std::string word;
      if (!(words >> word) || lower(word) != "include") continue;
      while (words >> word && word.front() != '#') out.push_back(word);
    }
    return out;
  }
};

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
  Reader reader;
  reader.read("/etc/ssh/sshd_config", 0);
  // Also where the main file is a distribution's that doesn't include them.
  reader.read_all("/etc/ssh/sshd_config.d/*.conf", 1);
  auto& out = reader.ports;
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace hawser::netfilter
