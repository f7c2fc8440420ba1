// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "proxy/envoy_driver.h"
#include "proxy/supervisor.h"

namespace hawser {

// What is asked of a generation of the proxy itself, over its admin interface.
struct ProxyQuestion {
  std::string what;        // connections, config_dump
  std::string generation;  // empty: the one that serves
  // Of a configuration dump, as Envoy's own query has them:
  std::string resource;
  std::string mask;
  std::string name_regex;
  bool endpoints = false;
  // The next part of a dump that was begun: what the answer before said.
  std::string token;
  std::uint64_t offset = 0;
};

// What: the answers to `hawser proxy connections` and `config-dump`, as JSON documents. Who is connected is the
// kernel's word, of all generations that share the ports; the rest is the proxy's own. A dump may be larger than a
// frame of admin.sock, so it's handed out in parts: {"token", "size", "offset", "part"}; the last one asked for is held
// for ten seconds, in memory. Secrets are as Envoy tells them, redacted.
// Threading: on the loop. Failure: the driver's; HWS-PX-063 (the proxy refuses the question), HWS-PX-064 (that dump
// isn't held any more), HWS-AD-002 (no such question).
class ProxyQuestions {
 public:
  static constexpr std::size_t kPart = std::size_t{1} << 20U;
  static constexpr auto kHeld = std::chrono::seconds(10);
  using Done = std::function<void(Result<std::string>)>;

  ProxyQuestions(Loop& loop, SlowWorker& slow, proxy::EnvoyDriver& driver)
      : loop_(loop), slow_(slow), driver_(driver) {}
  void ask(const std::string& serving, const ProxyQuestion& question, Done done);
  // `hawser proxy status`: every generation that runs, with its connections where it can be asked; what can't be had is
  // left out. Anybody may ask: those who come while the proxies are asked get the same answer.
  void status(const proxy::Supervisor& supervisor, Done done);

 private:
  void ask_connections(const std::string& generation, Done done);
  void ask_dump(const std::string& generation, const ProxyQuestion& question, Done done);
  Result<std::string> part(const std::string& token, std::uint64_t offset);

  Loop& loop_;
  SlowWorker& slow_;
  proxy::EnvoyDriver& driver_;
  std::vector<Done> on_status_;  // wait for the answer under way
  std::string token_;
  std::string dump_;
  unsigned asked_ = 0;
  std::unique_ptr<Loop::Timer> timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser
