// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/result.h"

namespace hawser::proxy {

struct AdminReply {
  unsigned status = 0;
  std::string body;
};

// What: HTTP to the admin interface of a generation, or to a listener of its own, on its Unix socket. Each call is a
// connection of its own, with one deadline for all of it. Any status is an answer; what it means is the caller's.
// Threading: on the loop; the callback runs later, on the loop. Calls under way when the client is destroyed are
// dropped. Failure: HWS-PX-001 (no connection, or no answer in time), HWS-PX-002 (no HTTP, or an answer over the
// limit).
class AdminClient {
 public:
  struct Options {
    std::string folder = "/run/hawser/proxy";
    std::string suffix = ".admin.sock";  // after the generation's name
    std::chrono::milliseconds timeout{2000};
    std::size_t max_body = std::size_t{32} << 20U;
  };
  using Done = std::function<void(Result<AdminReply>)>;

  AdminClient(AsioLoop& loop, Options options);
  ~AdminClient();
  AdminClient(const AdminClient&) = delete;
  AdminClient& operator=(const AdminClient&) = delete;

  void get(const std::string& generation, const std::string& target, Done done);
  // Envoy takes what changes something by POST alone.
  void post(const std::string& generation, const std::string& target, Done done);

  std::string socket_path(const std::string& generation) const;
  // Percent-encodes what isn't unreserved in a query's value (RFC 3986).
  static std::string encode(std::string_view value);

 private:
  void call(bool post, const std::string& generation, const std::string& target, Done done);

  AsioLoop& loop_;
  Options options_;
  std::shared_ptr<bool> alive_;
};

}  // namespace hawser::proxy
