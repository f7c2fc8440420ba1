// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "certs/secret.h"

namespace hawser::certs {

// With whom TLS is spoken: the server by one of these roots and by its name, ourselves by a certificate if there is
// one.
struct HttpTls {
  std::string roots_pem;
  std::string name;       // what the server's certificate must be for; an IP address is one, too
  std::string chain_pem;  // empty: no client certificate
  Secret key;
};

struct HttpRequest {
  std::string host;
  std::uint16_t port = 80;
  std::optional<HttpTls> tls;
  std::string method = "GET";
  std::string target = "/";
  std::map<std::string, std::string> headers;
  std::string body;
  std::chrono::milliseconds timeout{10'000};  // for all of it but the name's look-up
  std::size_t max_body = 64UL * 1024;
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case; the last of each
  Secret body;
};

// What: one HTTP/1.1 request to a server that hands out tokens: over a connection of its own, by no proxy whatever the
// environment says, with no redirect followed. TLS is 1.2 or newer. Threading: run() blocks, on the slow worker;
// cancel() from any thread ends it, for good. Failure: the caller's id: kUnavailable (not reached), kDeadlineExceeded,
// kUnauthenticated (not the server that was meant), kInvalidArgument (roots, certificate or key can't be read),
// kDataLoss (not HTTP, or too long), kCancelled. Any status is an answer. No error holds what was sent or received.
class HttpCall {
 public:
  explicit HttpCall(std::string error_id);
  ~HttpCall();
  HttpCall(const HttpCall&) = delete;
  HttpCall& operator=(const HttpCall&) = delete;

  Result<HttpAnswer> run(const HttpRequest& request);
  void cancel();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hawser::certs
