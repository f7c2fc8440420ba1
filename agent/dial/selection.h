// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "dial/route.h"

namespace hawser::dial {

// As configured: a name or an address.
struct Address {
  std::string host;
  std::uint16_t port = 0;
  unsigned priority = 0;  // 0 is the first choice
  bool by_proxy = false;  // asked of the HTTP proxy, which looks the name up

  std::string text() const;  // brackets around an IPv6 address
};

bool is_literal(const std::string& host);
std::string host_port(const std::string& host, std::uint16_t port);

// What: which of a server's addresses is the next to be tried. Addresses of the same priority are a group; one group is
// in use at a time. After `fail_over` failures in a row the next group is, after the last one the first again. A better
// group than the one in use becomes the choice when it has been well for `fail_back`. Inside a group the one that
// failed least goes first; a name's addresses alternate between the families, as in RFC 8305, so that a host without
// one of them isn't held up. Names are looked up by the caller, as names_due() says; what is known of a name stays when
// a look-up fails. Threading: pure; the clock is an argument. Failure: none.
class Selection {
 public:
  struct Policy {
    unsigned fail_over = 3;
    std::chrono::milliseconds fail_back{60'000};  // 0: never
    std::chrono::milliseconds look_up_every{30'000};
  };
  struct Proxy {
    std::string host;
    std::uint16_t port = 0;
    std::string password;
  };

  Selection(std::vector<Address> addresses, std::optional<Proxy> proxy, Policy policy);

  // Names of the group in use (and of better ones) that haven't been looked up lately, or whose addresses failed.
  std::vector<std::string> names_due(Loop::Monotonic now) const;
  void looked_up(const std::string& name, const std::vector<std::string>& addresses, Loop::Monotonic now);

  // Of the group in use, best first.
  std::vector<Route> candidates() const { return candidates_of(current_); }
  void failed(const Route& route);
  // Nothing of the group in use could be tried at all.
  void group_failed();
  void well(const Route& route);
  // The best group is the choice again; the order inside it stays.
  void start_over();

  // The first candidate of the best group, if one better than that of the last good route exists.
  std::optional<Route> to_probe() const;
  // How a probe of it went. True: it is the choice from now on.
  bool probed(bool well, Loop::Monotonic now);

  unsigned priority() const;
  // The server's addresses in use, for messages: "a:1, b:2".
  std::string describe() const;

 private:
  struct Name {
    std::vector<std::string> addresses;
    std::optional<Loop::Monotonic> at;
    bool doubted = false;
  };

  std::vector<Route> candidates_of(std::size_t group) const;
  std::vector<std::string> addresses_of(const std::string& host) const;
  void use(std::size_t group);
  void count_failure();
  std::optional<std::size_t> group_of(unsigned priority) const;

  std::vector<std::vector<Address>> groups_;  // best first
  std::optional<Proxy> proxy_;
  Policy policy_;
  std::map<std::string, Name> names_;
  std::map<std::string, unsigned> failures_;  // by Route::text()
  std::size_t current_ = 0;
  unsigned group_failures_ = 0;
  std::optional<std::size_t> in_use_;  // the group of the last good route
  std::optional<Loop::Monotonic> well_since_;
};

}  // namespace hawser::dial
