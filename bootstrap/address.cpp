// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>

namespace hawser::bootstrap {
namespace {

using Family = AddressRule::Family;

struct Bytes {
  std::array<unsigned char, 16> raw{};
  bool v6 = false;
};

std::optional<Bytes> bytes_of(const std::string& address) {
  Bytes out;
  if (inet_pton(AF_INET, address.c_str(), out.raw.data()) == 1) return out;
  out.v6 = true;
  if (inet_pton(AF_INET6, address.c_str(), out.raw.data()) == 1) return out;
  return std::nullopt;
}

bool is_global_v4(const Bytes& address) {
  const unsigned first = address.raw[0];
  return first != 0 && first != 127 && first < 224 && !(first == 169 && address.raw[1] == 254);
}

bool is_global_v6(const Bytes& address) {
  in6_addr raw{};
  std::memcpy(&raw, address.raw.data(), sizeof raw);
  return !IN6_IS_ADDR_LOOPBACK(&raw) && !IN6_IS_ADDR_LINKLOCAL(&raw) && !IN6_IS_ADDR_UNSPECIFIED(&raw) &&
         !IN6_IS_ADDR_MULTICAST(&raw) && !IN6_IS_ADDR_V4MAPPED(&raw);
}

bool within(const Bytes& address, const std::string& cidr) {
  const auto slash = cidr.find('/');
  const auto network = bytes_of(cidr.substr(0, slash));
  if (!network || network->v6 != address.v6) return false;
  unsigned bits = address.v6 ? 128 : 32;
  if (slash != std::string::npos) bits = static_cast<unsigned>(std::strtoul(cidr.c_str() + slash + 1, nullptr, 10));
  for (std::size_t i = 0; i < address.raw.size() && bits > 0; ++i) {
    const unsigned here = std::min(bits, 8U);
    const unsigned mask = 0xffU << (8U - here) & 0xffU;
    if (((address.raw[i] ^ network->raw[i]) & mask) != 0) return false;
    bits -= here;
  }
  return true;
}

// Bridges and pairs that container engines, virtual machines and overlay networks make: addresses behind them are
// behind this host.
bool is_of_containers(const std::string& interface) {
  static constexpr std::array<const char*, 15> kPrefixes = {"docker", "br-",    "veth",  "virbr",  "cni",
                                                            "podman", "lxcbr",  "lxdbr", "cali",   "flannel",
                                                            "kube-",  "cilium", "weave", "vxlan.", "hwsprb"};
  return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [&interface](const char* prefix) { return interface.rfind(prefix, 0) == 0; });
}

std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const auto& item : list) text += (text.empty() ? "" : ", ") + item;
  return text;
}

bool is_default(const AddressRule& rule) {
  return rule.fixed.empty() && rule.interface.empty() && rule.cidrs.empty();
}

// Why not this one; empty: it may be told.
std::string objection(const AddressRule& rule, const InterfaceAddress& item) {
  const auto bytes = bytes_of(item.address);
  if (!bytes || !is_global(item.address)) return "loopback, link-local or multicast";
  if (!item.unusable.empty()) return item.unusable;
  if ((rule.family == Family::kV4 && bytes->v6) || (rule.family == Family::kV6 && !bytes->v6)) return "other family";
  if (!rule.interface.empty() && rule.interface != item.interface) return "other interface";
  const auto in = [&bytes](const std::string& cidr) { return within(*bytes, cidr); };
  if (!rule.cidrs.empty() && std::none_of(rule.cidrs.begin(), rule.cidrs.end(), in)) return "in none of the networks";
  if (rule.interface.empty() && is_of_containers(item.interface)) return "an interface of containers";
  return {};
}

class Chooser {
 public:
  Chooser(const AddressRule& rule, const AddressFacts& facts) : rule_(rule), facts_(facts) {
    choice_.rule = to_string(rule);
    std::vector<InterfaceAddress> all = facts.interfaces;
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return order(a) < order(b); });
    for (auto& item : all) {
      const std::string why = objection(rule, item);
      if (why.empty())
        fitting_.push_back(std::move(item));
      else
        reject(item, why);
    }
  }

  Result<AddressChoice> choose() {
    const bool v6_first = facts_.towards_plane && is_global(*facts_.towards_plane) && is_ipv6(*facts_.towards_plane);
    for (const bool v6 : {v6_first, !v6_first})
      if (auto taken = take(v6); !taken) return taken.error();
    if (choice_.addresses.empty() || (rule_.family == Family::kDual && choice_.addresses.size() < 2)) return nothing();
    return std::move(choice_);
  }

 private:
  static auto order(const InterfaceAddress& item) {
    const auto bytes = bytes_of(item.address).value_or(Bytes{});
    return std::make_tuple(item.index, bytes.v6, bytes.raw);
  }

  void reject(const InterfaceAddress& item, const std::string& why) {
    choice_.rejected.push_back({item.address, item.interface, why});
  }

  Status take(bool v6) {
    std::vector<InterfaceAddress> own;
    for (const auto& item : fitting_)
      if (is_ipv6(item.address) == v6) own.push_back(item);
    if (own.empty()) return {};
    const auto routed = std::find_if(own.begin(), own.end(), [&](const auto& item) { return is_routed(item, v6); });
    if (routed == own.end() && own.size() > 1 && !is_default(rule_)) return several(own);
    const InterfaceAddress taken = routed == own.end() ? own.front() : *routed;
    choice_.addresses.push_back(taken.address);
    for (const auto& item : own)
      if (item.address != taken.address)
        reject(item, routed == own.end() ? "a later interface or address" : "not the one that the route uses");
    return {};
  }

  // The route to the plane says more than the default one.
  bool is_routed(const InterfaceAddress& item, bool v6) const {
    const auto& plane = facts_.towards_plane;
    if (plane && is_global(*plane) && is_ipv6(*plane) == v6 && fits(*plane)) return item.address == *plane;
    return item.address == (v6 ? facts_.default_v6 : facts_.default_v4);
  }
  bool fits(const std::string& address) const {
    return std::any_of(fitting_.begin(), fitting_.end(), [&](const auto& item) { return item.address == address; });
  }

  Error several(const std::vector<InterfaceAddress>& own) const {
    std::vector<std::string> names;
    for (const auto& item : own) names.push_back(item.address + " (" + item.interface + ")");
    return {Code::kFailedPrecondition, "HWS-AR-003", choice_.rule + " fits several addresses: " + joined(names),
            "narrow workload.address_rule by interface or cidr, or set workload.address"};
  }

  Error nothing() const {
    const bool any = std::any_of(facts_.interfaces.begin(), facts_.interfaces.end(),
                                 [](const auto& item) { return is_global(item.address); });
    if (!any)
      return {Code::kFailedPrecondition, "HWS-AR-001", "this host has no address but loopback and link-local ones",
              "bring the network up, or set workload.address"};
    std::vector<std::string> names;
    for (const auto& item : choice_.rejected)
      if (is_global(item.address)) names.push_back(item.address + " (" + item.interface + "): " + item.reason);
    for (const auto& address : choice_.addresses) names.push_back(address + ": the only family");
    return {Code::kFailedPrecondition, "HWS-AR-002", choice_.rule + " fits no address: " + joined(names),
            "correct workload.address_rule, bring that network up, or set workload.address"};
  }

  const AddressRule& rule_;
  const AddressFacts& facts_;
  AddressChoice choice_;
  std::vector<InterfaceAddress> fitting_;
};

}  // namespace

bool is_ipv6(const std::string& address) {
  return address.find(':') != std::string::npos;
}

bool is_global(const std::string& address) {
  const auto bytes = bytes_of(address);
  return bytes && (bytes->v6 ? is_global_v6(*bytes) : is_global_v4(*bytes));
}

std::string to_string(const AddressRule& rule) {
  if (!rule.fixed.empty()) return "workload.address";
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (!rule.interface.empty()) add("interface " + rule.interface);
  if (!rule.cidrs.empty()) add("in " + joined(rule.cidrs));
  if (is_default(rule)) add("the route to the control plane");
  if (rule.family == Family::kV4) add("IPv4 only");
  if (rule.family == Family::kV6) add("IPv6 only");
  if (rule.family == Family::kDual) add("both families");
  return text;
}

Result<AddressChoice> choose_addresses(const AddressRule& rule, const AddressFacts& facts) {
  if (!rule.fixed.empty()) {
    AddressChoice out;
    out.addresses = rule.fixed;
    out.rule = to_string(rule);
    return out;
  }
  return Chooser(rule, facts).choose();
}

}  // namespace hawser::bootstrap
