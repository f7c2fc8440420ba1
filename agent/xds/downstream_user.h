// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <string>

namespace hawser::xds {

class DownstreamStream;

enum class Protocol { kDelta, kSotw };

// What: who judges over the streams that the relay's clients opened. Threading: called on the strand. Failure: none.
class DownstreamUser {
 public:
  virtual ~DownstreamUser() = default;
  virtual void on_downstream_opened(std::uint64_t id, DownstreamStream& stream, const std::string& generation) = 0;
  virtual void on_downstream_read(std::uint64_t id, bool ok, grpc::ByteBuffer buffer) = 0;
  virtual void on_downstream_written(std::uint64_t id, bool ok) = 0;
  // The client is gone, which no read or write tells while none is under way.
  virtual void on_downstream_cancelled(std::uint64_t id) = 0;
};

}  // namespace hawser::xds
