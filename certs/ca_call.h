// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>

#include "certs/ca_protocol.h"
#include "certs/identity.h"
#include "dial/route.h"

// What: one call of GrpcCa: channel, headers, bytes in and out. Included by ca_grpc.cpp only.
namespace hawser::certs {

struct CallTarget {
  dial::Route route;
  bool by_route = false;  // the route has an address; else a name, which gRPC looks up
  std::string server_name;
  std::string roots_pem;
};

// It must die on the loop, never on gRPC's callback thread: the last channel joins those threads when it goes
// (CallbackAlternativeCQ of gRPC 1.51), and a thread that joins itself aborts. So the callback hands its share over
// with the post.
class CaCall : public std::enable_shared_from_this<CaCall> {
 public:
  using Ended = std::function<void(std::shared_ptr<CaCall>, const grpc::Status&)>;

  // `client` may be null.
  CaCall(const CallTarget& target, const Identity* client);
  void header(const std::string& name, const std::string& value) { context_.AddMetadata(name, value); }
  // `ended` runs on a thread of gRPC's, and may only post.
  void start(const std::string& method, const std::string& request, std::chrono::milliseconds deadline, Ended ended);
  std::string answer() const;
  // Blocks until gRPC holds nothing of ours: until `ended` has run.
  void cancel();

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  std::shared_ptr<std::promise<void>> over_ = std::make_shared<std::promise<void>>();
};

// More would be refused by gRPC; a chain has a few kilobytes.
inline constexpr int kMaxCaAnswer = 4 << 20;
// Would it have refused this one for its size?
bool is_too_large(const grpc::Status& status);
// gRPC aborts the program on a header that HTTP/2 can't carry.
bool can_be_header(std::string_view value);

}  // namespace hawser::certs
