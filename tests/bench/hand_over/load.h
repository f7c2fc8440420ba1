// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>

#include "tally.h"

// What: the kinds of load, each at a fixed rate. None of them ever sends a request again: what was sent and not
// answered has failed. What comes after the other side has closed a connection, or said GOAWAY, goes to a new one, as
// with every client. Threading: on the io_context, with gRPC's own threads behind it.
namespace hawser::hand_over {

struct Target {
  Kind kind{};
  boost::asio::ip::tcp::endpoint address;
  double rate = 0;  // a second; of all requests for http1, fresh, http2, of each connection for the others
  unsigned connections = 0;
};

inline constexpr auto kTimeout = std::chrono::seconds(5);
inline constexpr auto kPauseAfterFailure = std::chrono::milliseconds(5);

void start_http(boost::asio::io_context& io, Tally& tally, const Target& target);  // http1, fresh
void start_tcp(boost::asio::io_context& io, Tally& tally, const Target& target);

class Load {  // http2, stream
 public:
  virtual ~Load() = default;
  virtual void stop() = 0;  // what is under way isn't counted any more
};
std::unique_ptr<Load> start_http2(boost::asio::io_context& io, Tally& tally, const Target& target);
std::unique_ptr<Load> start_streams(boost::asio::io_context& io, Tally& tally, const Target& target);

// Answers: HTTP/1.1 and gRPC (any method: an echo) and a TCP echo, on three ports. Doesn't return.
int serve(const std::string& address, unsigned short http, unsigned short grpc, unsigned short tcp);

}  // namespace hawser::hand_over
