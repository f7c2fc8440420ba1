// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "test_certificates.h"
#include "xds/wire.h"

namespace hawser::xds::test {

// A control plane by hand: a gRPC server with TLS that records requests and sends the bytes that a test gives it.
// Threading: any.
class AdsServer {
 public:
  struct Received {
    int stream = 0;  // counted from 1
    Request request;
  };

  explicit AdsServer(const TestCertificates& certificates);
  ~AdsServer();

  // Starts again on the same port after stop().
  void start();
  void stop();
  // From the next start() on: each connection is told to end after `age` (GOAWAY), and cut `grace` later.
  void expire_connections(std::chrono::milliseconds age, std::chrono::milliseconds grace);
  int port() const;
  // Streams opened from now on end at once like this; an empty message and code 0 mean: serve them.
  void refuse(int code, const std::string& message);

  // The next request of this type on any stream, skipping others; nullopt when time is up.
  std::optional<Received> expect(std::string_view type, std::chrono::milliseconds within = std::chrono::seconds(10));
  // Are there requests of this type that weren't expected yet?
  std::size_t waiting(std::string_view type) const;

  // To the newest stream.
  void push(std::string bytes);
  void end(int code, const std::string& message);
  // State-of-the-world streams, which may be several: their requests as bytes, in order over all of them.
  struct SotwReceived {
    int stream = 0;  // counted with the delta streams
    std::string bytes;
  };
  std::optional<SotwReceived> expect_sotw(std::chrono::milliseconds within = std::chrono::seconds(10));
  int sotw_streams() const;
  void push_to(int stream, std::string bytes);
  void end_stream(int stream, int code, const std::string& message);
  // State-of-the-world streams opened from now on aren't read from until they are resumed.
  void hold_reads();
  void resume_reads();
  bool wait_gone(int stream, std::chrono::milliseconds within = std::chrono::seconds(10)) const;

  std::map<std::string, std::string> metadata() const;
  int streams() const;
  bool wait_streams(int count, std::chrono::milliseconds within = std::chrono::seconds(10)) const;
  // Did the client end this stream by a half-close, before any cancellation?
  bool wait_half_closed(int stream, std::chrono::milliseconds within = std::chrono::seconds(10)) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hawser::xds::test
