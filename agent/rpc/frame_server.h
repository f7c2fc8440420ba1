// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/unix_socket.h"

namespace hawser::rpc {

// What: the server side of admin.sock: frames (base/frame.h) in, frames out, one request at a time a connection.
// Threading: on the loop. Failure: a bad frame or a slow peer closes that connection alone. At most 32 connections,
// idle for at most a minute between requests.
class FrameServer {
 public:
  using Reply = std::function<void(std::string)>;
  using Handler = std::function<void(const PeerCredentials& peer, std::string request, Reply reply)>;

  FrameServer(AsioLoop& loop, ListeningSocket socket, Handler handler);
  ~FrameServer();
  void start();
  // Closes the listener; answers under way are still sent.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::rpc
