// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/client.h"

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>

#include "base/frame.h"
#include "broker/failure.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

class Call : public std::enable_shared_from_this<Call> {
 public:
  Call(AsioLoop& loop, std::string path, std::shared_ptr<bool> client, BrokerClient::Done done)
      : loop_(loop),
        path_(std::move(path)),
        client_(std::move(client)),
        done_(std::move(done)),
        socket_(loop.context()) {}

  void start(const v1::Request& request, std::chrono::milliseconds timeout) {
    frame_ = frame::encode(request.SerializeAsString());
    timer_ = loop_.after(timeout, [self = weak_from_this()] {
      if (auto call = self.lock()) call->timed_out();
    });
    // A local connect may fail at once, and the caller expects its answer later.
    loop_.post([self = shared_from_this()] { self->connect(); });
  }

 private:
  void connect() {
    error_code error;
    // connect(2) on a Unix socket never waits, except for a full backlog: then it fails with EAGAIN when non-blocking.
    socket_.open(asio::local::stream_protocol(), error);
    if (!error) socket_.non_blocking(true, error);
    if (path_.size() > kMaxPath) error = asio::error::name_too_long;
    if (!error) socket_.connect(asio::local::stream_protocol::endpoint(path_), error);
    if (error)
      return finish(Error(Code::kUnavailable, "HWS-BR-001",
                          "can't reach the broker on " + path_ + ": " + error.message(),
                          "is hawser-broker running? see `systemctl status hawser-broker`"));
    asio::async_write(socket_, asio::buffer(frame_),
                      [self = shared_from_this()](const error_code& failed, std::size_t) {
                        // A broker that refuses us closes at once; what it has to say, if anything, is found by
                        // reading.
                        if (failed && failed != asio::error::broken_pipe) return self->closed(failed);
                        self->read();
                      });
  }

  void read() {
    socket_.async_read_some(asio::buffer(chunk_), [self = shared_from_this()](const error_code& failed, std::size_t n) {
      if (failed) return self->closed(failed);
      self->received(n);
    });
  }

  void received(std::size_t n) {
    if (auto fed = reader_.feed({chunk_, n}); !fed) return finish(fed.error());
    std::string payload;
    if (!reader_.next(payload)) return read();
    v1::Response response;
    if (!response.ParseFromString(payload))
      return finish(Error(Code::kInternal, "HWS-BR-003", "the broker's answer can't be read",
                          "hawserd and hawser-broker must be of the same release"));
    if (response.has_failure()) return finish(to_error(response.failure()));
    finish(std::move(response));
  }

  void closed(const error_code& error) {
    if (error == asio::error::operation_aborted) return;
    finish(Error(Code::kUnavailable, "HWS-BR-003", "the broker closed the connection: " + error.message(),
                 "see its log; it serves root and --agent-user only"));
  }

  void timed_out() {
    finish(Error(Code::kDeadlineExceeded, "HWS-BR-002", "no answer from the broker in time", "see its log"));
  }

  void finish(Result<v1::Response> result) {
    timer_.reset();
    error_code ignored;
    socket_.close(ignored);
    auto done = std::exchange(done_, nullptr);
    if (done && *client_) done(std::move(result));
  }

  static constexpr std::size_t kMaxPath = 107;  // sun_path without its NUL

  AsioLoop& loop_;
  std::string path_;
  std::shared_ptr<bool> client_;
  BrokerClient::Done done_;
  asio::local::stream_protocol::socket socket_;
  std::unique_ptr<Loop::Timer> timer_;
  frame::Reader reader_;
  std::string frame_;
  char chunk_[16384] = {};
};

}  // namespace

BrokerClient::BrokerClient(AsioLoop& loop, std::string path)
    : loop_(loop), path_(std::move(path)), alive_(std::make_shared<bool>(true)) {}

BrokerClient::~BrokerClient() {
  *alive_ = false;
}

void BrokerClient::call(const v1::Request& request, std::chrono::milliseconds timeout, Done done) {
  std::make_shared<Call>(loop_, path_, alive_, std::move(done))->start(request, timeout);
}

}  // namespace hawser::broker
