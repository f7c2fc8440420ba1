// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

#include "base/asio_loop.h"
#include "base/result.h"
#include "base/unix_socket.h"

namespace hawser::broker::v1 {
class Request;
class Response;
}  // namespace hawser::broker::v1

namespace hawser::broker {

// What: broker.sock: who may speak (uid 0 and hawserd's, by SO_PEERCRED), how much (connections, bytes, idle time), and
// one answer for each request, in order. What a request means is the handler's business.
// Threading: on the loop. Failure: a peer that breaks a rule is closed and counted.
class Server {
 public:
  struct Options {
    uid_t agent_uid = 0;
    std::size_t max_connections = 16;
    std::size_t max_frame = 1U << 20U;
    std::chrono::milliseconds idle{30'000};
  };
  using Answer = std::function<void(const v1::Response&)>;
  // Calls `answer` once, now or later.
  using Handler = std::function<void(const v1::Request&, Answer)>;

  Server(AsioLoop& loop, ListeningSocket socket, Options options, Handler handler);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Status start();
  // Closes everything and removes the socket's file.
  void stop();
  // Connections and frames that were refused.
  std::uint64_t refused() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::broker
