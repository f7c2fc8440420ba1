// SPDX-License-Identifier: Apache-2.0
#include "dial/selection.h"

#include <arpa/inet.h>

#include <algorithm>
#include <set>

namespace hawser::dial {
namespace {

bool is_v6(const std::string& address) {
  return address.find(':') != std::string::npos;
}

// The resolver's order says which family is the better one on this host; then they alternate.
std::vector<std::string> alternate(const std::vector<std::string>& addresses) {
  std::vector<std::string> first, second, out;
  for (const auto& address : addresses)
    (is_v6(address) == is_v6(addresses.front()) ? first : second).push_back(address);
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) out.push_back(first[i]);
    if (i < second.size()) out.push_back(second[i]);
  }
  return out;
}

}  // namespace

bool is_literal(const std::string& host) {
  in6_addr scratch{};
  return inet_pton(AF_INET, host.c_str(), &scratch) == 1 || inet_pton(AF_INET6, host.c_str(), &scratch) == 1;
}

std::string host_port(const std::string& host, std::uint16_t port) {
  return (is_v6(host) ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string Address::text() const {
  return host_port(host, port);
}

Selection::Selection(std::vector<Address> addresses, std::optional<Proxy> proxy, Policy policy)
    : proxy_(std::move(proxy)), policy_(policy) {
  std::stable_sort(addresses.begin(), addresses.end(),
                   [](const Address& left, const Address& right) { return left.priority < right.priority; });
  for (auto& address : addresses) {
    if (groups_.empty() || groups_.back().front().priority != address.priority) groups_.emplace_back();
    groups_.back().push_back(std::move(address));
  }
}

std::vector<std::string> Selection::names_due(Loop::Monotonic now) const {
  std::set<std::string> wanted;
  for (std::size_t group = 0; group < groups_.size() && group <= std::max(current_, in_use_.value_or(0)); ++group) {
    for (const auto& address : groups_[group]) {
      const std::string& host = address.by_proxy && proxy_ ? proxy_->host : address.host;
      if (!is_literal(host)) wanted.insert(host);
    }
  }
  std::vector<std::string> out;
  for (const auto& name : wanted) {
    const auto known = names_.find(name);
    if (known == names_.end() || !known->second.at || known->second.doubted ||
        now - *known->second.at >= policy_.look_up_every)
      out.push_back(name);
  }
  return out;
}

void Selection::looked_up(const std::string& name, const std::vector<std::string>& addresses, Loop::Monotonic now) {
  Name& known = names_[name];
  known.at = now;
  known.doubted = addresses.empty();
  if (!addresses.empty()) known.addresses = alternate(addresses);
}

std::vector<std::string> Selection::addresses_of(const std::string& host) const {
  if (is_literal(host)) return {host};
  const auto known = names_.find(host);
  return known == names_.end() ? std::vector<std::string>() : known->second.addresses;
}

std::vector<Route> Selection::candidates_of(std::size_t group) const {
  std::vector<Route> out;
  if (group >= groups_.size()) return out;
  for (const auto& address : groups_[group]) {
    const bool by_proxy = address.by_proxy && proxy_;
    for (const auto& ip : addresses_of(by_proxy ? proxy_->host : address.host)) {
      Route route;
      route.address = host_port(ip, by_proxy ? proxy_->port : address.port);
      route.priority = address.priority;
      if (by_proxy) {
        route.connect_to = address.text();
        route.proxy_password = proxy_->password;
      }
      if (std::find(out.begin(), out.end(), route) == out.end()) out.push_back(std::move(route));
    }
  }
  const auto failures = [this](const Route& route) {
    const auto found = failures_.find(route.text());
    return found == failures_.end() ? 0U : found->second;
  };
  std::stable_sort(out.begin(), out.end(),
                   [&](const Route& left, const Route& right) { return failures(left) < failures(right); });
  return out;
}

void Selection::use(std::size_t group) {
  current_ = group;
  group_failures_ = 0;
  for (const auto& route : candidates_of(group)) failures_.erase(route.text());
}

std::optional<std::size_t> Selection::group_of(unsigned priority) const {
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    if (groups_[group].front().priority == priority) return group;
  }
  return std::nullopt;
}

void Selection::failed(const Route& route) {
  ++failures_[route.text()];
  for (auto& [name, known] : names_) known.doubted = true;
  const auto group = group_of(route.priority);
  if (group && in_use_ && *group < *in_use_) {
    // It looked well to the probe and wasn't: back to what works.
    well_since_.reset();
    use(*in_use_);
  } else if (group == current_) {
    count_failure();
  }
}

void Selection::group_failed() {
  for (auto& [name, known] : names_) known.doubted = true;
  count_failure();
}

void Selection::count_failure() {
  if (++group_failures_ < policy_.fail_over || groups_.size() < 2) return;
  in_use_.reset();
  well_since_.reset();
  use((current_ + 1) % groups_.size());
}

void Selection::well(const Route& route) {
  failures_.erase(route.text());
  const auto group = group_of(route.priority);
  if (!group) return;
  if (in_use_ != group) well_since_.reset();
  in_use_ = group;
  current_ = *group;
  group_failures_ = 0;
}

void Selection::start_over() {
  current_ = 0;
  group_failures_ = 0;
  in_use_.reset();
  well_since_.reset();
}

std::optional<Route> Selection::to_probe() const {
  if (!in_use_ || *in_use_ == 0 || policy_.fail_back.count() == 0) return std::nullopt;
  const auto best = candidates_of(0);
  return best.empty() ? std::nullopt : std::optional<Route>(best.front());
}

bool Selection::probed(bool well, Loop::Monotonic now) {
  if (!in_use_ || *in_use_ == 0) return false;
  if (!well) {
    well_since_.reset();
    // The group's next address has its turn.
    if (const auto best = candidates_of(0); !best.empty()) ++failures_[best.front().text()];
    return false;
  }
  if (!well_since_) well_since_ = now;
  if (now - *well_since_ < policy_.fail_back) return false;
  use(0);
  return true;
}

unsigned Selection::priority() const {
  return groups_.empty() ? 0 : groups_[current_].front().priority;
}

std::string Selection::describe() const {
  std::string out;
  if (groups_.empty()) return out;
  for (const auto& address : groups_[current_]) out += (out.empty() ? "" : ", ") + address.text();
  return out;
}

}  // namespace hawser::dial
