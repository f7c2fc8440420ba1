// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/asio_loop.h"
#include "base/result.h"

namespace hawser::proxy {

// What: does the proxy serve? A connection to a listener of it on this host, and a request that a worker answers by
// itself; any HTTP status is an answer. The kernel accepts for a process that hangs, so the connection alone tells
// nothing. Threading: on the loop; the callback runs once, from the loop; not once the loop is gone. Failure:
// HWS-PX-041: kDeadlineExceeded (no answer in time), kUnavailable (refused, or closed without an answer); kInternal:
// it couldn't be tried.
using DataProbe = std::function<void(std::function<void(Status)> done)>;
DataProbe http_data_probe(AsioLoop& loop, std::uint16_t port,
                          std::chrono::milliseconds timeout = std::chrono::milliseconds(2000));

}  // namespace hawser::proxy
