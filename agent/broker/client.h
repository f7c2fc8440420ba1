// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/asio_loop.h"
#include "base/result.h"

namespace hawser::broker::v1 {
class Request;
class Response;
}  // namespace hawser::broker::v1

namespace hawser::broker {

// What: hawserd's side of broker.sock. One connection a call, so that a restarted broker needs no care and a slow job
// holds nothing up.
// Threading: on the loop; callbacks too, never from within call(). Calls under way when the client is destroyed are
// dropped without an answer.
// Failure: what the broker answered; HWS-BR-001 (it isn't reachable), HWS-BR-002 (no answer in time), HWS-BR-003 (it
// closed the connection, or what it sent is no response).
class BrokerClient {
 public:
  using Done = std::function<void(Result<v1::Response>)>;

  BrokerClient(AsioLoop& loop, std::string path);
  ~BrokerClient();
  BrokerClient(const BrokerClient&) = delete;
  BrokerClient& operator=(const BrokerClient&) = delete;

  void call(const v1::Request& request, std::chrono::milliseconds timeout, Done done);

 private:
  AsioLoop& loop_;
  std::string path_;
  std::shared_ptr<bool> alive_;
};

}  // namespace hawser::broker
