// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/result.h"
#include "proxy/driver.h"

namespace hawser::proxy {

// What: takes the place of an Envoy that ended while it drained. Its successor asks it for statistics every 5 s, for
// the socket of each listener that is added, and at last tells it to end; aborts when nobody listens, and waits without
// a limit for an answer, also to what it had asked before the other one died. So this binds the name that the dead one
// had (an abstract Unix socket, whose owner doesn't matter), and says at once, and whenever it's asked, that it has
// nothing. Ends when it's told to, or destroyed. `epoch` is the successor's. Threading: on the loop. Failure:
// HWS-PX-043 (the name can't be bound; it's in use while the dead one lives).
class ParentStandIn final : public StandIn {
 public:
  static Result<std::unique_ptr<StandIn>> open(AsioLoop& loop, unsigned base_id, unsigned epoch);
  ~ParentStandIn() override;

  // Of an Envoy's sockets; `role` is parent or child.
  static std::string socket_name(const std::string& role, unsigned base_id, unsigned epoch);

 private:
  struct Impl;
  explicit ParentStandIn(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::proxy
