// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// What: the framing of broker.sock and admin.sock: a 4-byte big-endian length, then a serialised protobuf message
// (proto/hawser/broker.proto, admin.proto). One request, one response, in order, on a SOCK_STREAM Unix socket.
// Threading: FrameReader belongs to one thread. Failure: HWS-RPC-001 for a frame over the limit, HWS-RPC-002 for a peer
// that closed or timed out.
namespace hawser::frame {

inline constexpr std::size_t kMaxFrame = 4U << 20U;

std::string encode(std::string_view payload);

// Feeds received bytes in, takes whole frames out.
class Reader {
 public:
  explicit Reader(std::size_t limit = kMaxFrame) : limit_(limit) {}
  Status feed(std::string_view bytes);
  // True and fills `payload` when a whole frame is there.
  bool next(std::string& payload);

 private:
  std::size_t limit_;
  std::string buffer_;
};

// Blocking exchange with a deadline, for the command line. `path` is a Unix socket.
Result<std::string> call(const std::string& path, std::string_view request, int timeout_ms);

}  // namespace hawser::frame
