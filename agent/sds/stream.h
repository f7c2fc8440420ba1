// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"

namespace grpc {
class Service;
}

namespace hawser::sds {

// One request of a stream, as far as it matters.
struct Ask {
  std::string type_url;
  std::string nonce;
  std::vector<std::string> names;
  bool refused = false;  // NACK
  std::string refusal;
};

struct Resource {
  std::string name;
  std::string packed;  // a serialised google.protobuf.Any; may hold a key, and is wiped after it is written
};

struct Push {
  std::string version;
  std::string nonce;
  std::vector<Resource> resources;
};

enum class End { kOk, kInvalid, kTooMuch, kGoingAway };

// What: one StreamSecrets call, as the loop sees it. Threading: any; calls after the stream's end do nothing.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void read() = 0;            // asks for the next request
  virtual void write(Push push) = 0;  // not before the previous one is written
  virtual void finish(End end) = 0;
};

// What: what happens on streams; called on the loop.
class StreamEvents {
 public:
  virtual ~StreamEvents() = default;
  virtual void opened(std::uint64_t id, std::shared_ptr<Stream> stream) = 0;
  virtual void asked(std::uint64_t id, const Ask& ask) = 0;
  virtual void written(std::uint64_t id) = 0;
  virtual void closed(std::uint64_t id) = 0;
};

// What: the gRPC side. Threading: gRPC calls it on its threads; it copies and posts. finish_all() from the loop.
class StreamService {
 public:
  virtual ~StreamService() = default;
  virtual grpc::Service* grpc_service() = 0;
  virtual void finish_all() = 0;
};

std::unique_ptr<StreamService> make_stream_service(Loop& loop, std::weak_ptr<StreamEvents> events);

}  // namespace hawser::sds
