// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/fd.h"

namespace hawser::bootstrap {
namespace {

bool is_v6(const std::string& address) {
  return address.find(':') != std::string::npos;
}

std::string text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* raw = address->sa_family == AF_INET6
                        ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr)
                        : static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr);
  return inet_ntop(address->sa_family, raw, text.data(), text.size()) == nullptr ? "" : text.data();
}

bool is_global_v4(const in_addr& address) {
  const auto host = ntohl(address.s_addr);
  const auto first = host >> 24U;
  return first != 0 && first != 127 && first < 224 && (host >> 16U) != 0xa9fe;
}

bool is_global_v6(const in6_addr& address) {
  return !IN6_IS_ADDR_LOOPBACK(&address) && !IN6_IS_ADDR_LINKLOCAL(&address) && !IN6_IS_ADDR_UNSPECIFIED(&address) &&
         !IN6_IS_ADDR_MULTICAST(&address) && !IN6_IS_ADDR_V4MAPPED(&address);
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

std::vector<std::string> interface_addresses() {
  std::vector<std::string> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> guard(list, freeifaddrs);
  for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr || (item->ifa_flags & IFF_UP) == 0) continue;
    const int family = item->ifa_addr->sa_family;
    if (family == AF_INET || family == AF_INET6) out.push_back(text_of(item->ifa_addr));
  }
  return out;
}

std::optional<std::string> of_family(const AddressFacts& facts, bool v6) {
  const auto& routed = v6 ? facts.default_v6 : facts.default_v4;
  if (routed && is_global(*routed)) return routed;
  const auto found = std::find_if(facts.interfaces.begin(), facts.interfaces.end(),
                                  [v6](const auto& address) { return is_v6(address) == v6 && is_global(address); });
  if (found == facts.interfaces.end()) return std::nullopt;
  return *found;
}

}  // namespace

bool is_global(const std::string& address) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return is_global_v4(v4);
  return inet_pton(AF_INET6, address.c_str(), &v6) == 1 && is_global_v6(v6);
}

AddressFacts observe_addresses(const std::string& towards) {
  AddressFacts out;
  out.towards_plane = source_towards(towards);
  // Addresses of documentation (RFC 5737, RFC 3849): no host has a route to them but the default one.
  out.default_v4 = source_towards("192.0.2.1");
  out.default_v6 = source_towards("2001:db8::1");
  out.interfaces = interface_addresses();
  return out;
}

Result<std::vector<std::string>> choose_addresses(const std::vector<std::string>& configured,
                                                  const AddressFacts& facts) {
  if (!configured.empty()) return configured;
  std::vector<std::string> out;
  if (facts.towards_plane && is_global(*facts.towards_plane)) out.push_back(*facts.towards_plane);
  for (const bool v6 : {false, true}) {
    if (!out.empty() && is_v6(out.front()) == v6) continue;
    if (auto address = of_family(facts, v6)) out.push_back(*address);
  }
  if (out.empty())
    return Error(Code::kFailedPrecondition, "HWS-AR-001", "this host has no address but loopback and link-local ones",
                 "bring the network up, or set workload.address");
  return out;
}

Result<std::vector<std::string>> own_addresses(const std::vector<std::string>& configured, const std::string& towards) {
  return choose_addresses(configured, observe_addresses(towards));
}

}  // namespace hawser::bootstrap
