// SPDX-License-Identifier: Apache-2.0
#include "dial/no_proxy.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <cctype>

namespace hawser::dial {
namespace {

namespace ip = boost::asio::ip;
using boost::system::error_code;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool in_network(const ip::address& address, const std::string& cidr) {
  error_code error;
  if (address.is_v4()) {
    const auto network = ip::make_network_v4(cidr, error);
    return !error && ip::network_v4(address.to_v4(), network.prefix_length()).canonical() == network.canonical();
  }
  const auto network = ip::make_network_v6(cidr, error);
  return !error && ip::network_v6(address.to_v6(), network.prefix_length()).canonical() == network.canonical();
}

bool matches(const std::string& host, const std::string& entry) {
  error_code no_address;
  const auto address = ip::make_address(host, no_address);
  if (no_address) return entry == host || (entry.starts_with('.') && host.ends_with(entry));
  if (entry.find('/') != std::string::npos) return in_network(address, entry);
  error_code error;
  const auto other = ip::make_address(entry, error);
  return !error && other == address;
}

}  // namespace

bool bypasses_proxy(const std::string& host, const std::vector<std::string>& no_proxy) {
  const std::string name = lower(host);
  return std::any_of(no_proxy.begin(), no_proxy.end(),
                     [&](const std::string& entry) { return matches(name, lower(entry)); });
}

}  // namespace hawser::dial
