// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/result.h"
#include "base/unix_socket.h"
#include "proxy_jobs.h"
#include "relay_jobs.h"

namespace hawser {

// What: admin.sock. `status`, `wait`, `cert show`, `trust show`, `identity show`, `xds status`,
// `proxy history`, `proxy status` and `events` are open to all; the rest needs root or the admin group. Threading: on
// the loop. Failure: HWS-AD-001 (not allowed), HWS-AD-002 (request not understood); the rest is the operation's own.
class AdminServer {
 public:
  using Done = std::function<void(Result<std::string>)>;  // the JSON document of the answer
  struct Operations {
    std::function<std::string()> status;
    std::function<void(std::string token, Done)> join;
    std::function<void(unsigned drain_seconds, Done)> leave;
    std::function<Result<std::string>()> cert_show;
    std::function<void(Done)> cert_renew;
    std::function<void(std::string token, Done)> identity_prove;
    std::function<void(const std::string& event, std::chrono::milliseconds timeout, Done)> wait;
    std::function<void(Done)> intercept_show;
    std::function<void(std::chrono::seconds revert, const std::string& ssh_connection, bool takeover, Done)>
        intercept_apply;
    std::function<void(Done)> intercept_confirm;
    std::function<void(std::chrono::seconds time, Done)> intercept_drain;
    std::function<void(ProxyJob, Done)> proxy_job;
    std::function<Result<std::string>(std::uint64_t after_history, std::uint64_t after_health)> events;
    std::function<void(RelayJob, Done)> relay_job;
    std::function<Result<std::string>()> xds_status;
    std::function<Result<std::string>()> trust_show;
    std::function<Result<std::string>(const std::string& sha256, bool allow)> trust_change;
    std::function<void(Done)> identity_show;
    std::function<void(std::string token, bool force, Done)> identity_reset;
  };

  AdminServer(AsioLoop& loop, ListeningSocket socket, Operations operations, gid_t admin_group);
  ~AdminServer();
  void start();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hawser
