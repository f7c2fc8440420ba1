// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <map>
#include <memory>
#include <sstream>
#include <utility>

#include "base/fd.h"
#include "base/file.h"
#include "bootstrap/address.h"

namespace hawser::bootstrap {
namespace {

using Key = std::pair<std::string, unsigned>;

std::string text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* raw = address->sa_family == AF_INET6
                        ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr)
                        : static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr);
  return inet_ntop(address->sa_family, raw, text.data(), text.size()) == nullptr ? "" : text.data();
}

// connect() of a UDP socket only chooses a route and with it a source address.
std::optional<std::string> source_towards(const std::string& target) {
  sockaddr_storage storage{};
  socklen_t length = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, target.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(9);
    length = sizeof *v4;
  } else if (inet_pton(AF_INET6, target.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(9);
    length = sizeof *v6;
  } else {
    return std::nullopt;
  }
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  UniqueFd fd(::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), address, length) != 0) return std::nullopt;
  length = sizeof storage;
  if (::getsockname(fd.get(), address, &length) != 0) return std::nullopt;
  return text_of(address);
}

// Bits of an IPv6 address as rtnetlink and /proc/net/if_inet6 number them.
std::string why_unusable(unsigned flags) {
  constexpr unsigned kTemporary = 0x01;
  constexpr unsigned kDadFailed = 0x08;
  constexpr unsigned kDeprecated = 0x20;
  constexpr unsigned kTentative = 0x40;
  if ((flags & kDadFailed) != 0) return "another host has it too (duplicate address detection)";
  if ((flags & kTentative) != 0) return "it is tentative still";
  if ((flags & kDeprecated) != 0) return "it is deprecated";
  if ((flags & kTemporary) != 0) return "it is temporary (privacy extensions)";
  return {};
}

// getifaddrs() doesn't tell an address's flags; a line of this file is: 32 hex digits, index, prefix, scope, flags,
// name.
std::map<Key, std::string> unusable_v6() {
  std::map<Key, std::string> out;
  auto text = file::read_bounded("/proc/self/net/if_inet6", 1U << 20U);
  if (!text) return out;  // no IPv6
  std::istringstream lines(*text);
  std::string digits, name;
  unsigned index = 0, prefix = 0, scope = 0, flags = 0;
  while (lines >> digits >> std::hex >> index >> prefix >> scope >> flags >> name) {
    const std::string why = why_unusable(flags);
    if (why.empty() || digits.size() != 32) continue;
    std::string colons;
    for (std::size_t i = 0; i < digits.size(); i += 4) colons += (i == 0 ? "" : ":") + digits.substr(i, 4);
    in6_addr raw{};
    std::array<char, INET6_ADDRSTRLEN> shown{};
    if (inet_pton(AF_INET6, colons.c_str(), &raw) == 1 &&
        inet_ntop(AF_INET6, &raw, shown.data(), shown.size()) != nullptr)
      out[{shown.data(), index}] = why;
  }
  return out;
}

std::vector<InterfaceAddress> interface_addresses() {
  std::vector<InterfaceAddress> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> guard(list, freeifaddrs);
  const auto unusable = unusable_v6();
  for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr || (item->ifa_flags & IFF_UP) == 0) continue;
    const int family = item->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    InterfaceAddress found{text_of(item->ifa_addr), item->ifa_name, if_nametoindex(item->ifa_name), {}};
    const auto why = unusable.find({found.address, found.index});
    if (why != unusable.end()) found.unusable = why->second;
    out.push_back(std::move(found));
  }
  return out;
}

}  // namespace

AddressFacts observe_addresses(const std::string& towards) {
  AddressFacts out;
  out.towards_plane = source_towards(towards);
  // Addresses of documentation (RFC 5737, RFC 3849): no host has a route to them but the default one.
  out.default_v4 = source_towards("192.0.2.1");
  out.default_v6 = source_towards("2001:db8::1");
  out.interfaces = interface_addresses();
  return out;
}

}  // namespace hawser::bootstrap
