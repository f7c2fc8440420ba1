// SPDX-License-Identifier: Apache-2.0
#include "rpc/frame_server.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>

#include "base/frame.h"
#include "base/log.h"

namespace hawser::rpc {
namespace {

namespace asio = boost::asio;
using Stream = asio::local::stream_protocol::socket;

constexpr int kMaxConnections = 32;
constexpr auto kIdle = std::chrono::seconds(60);
constexpr auto kAcceptPause = std::chrono::milliseconds(200);
constexpr std::size_t kMaxRequest = 256 * 1024;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(AsioLoop& loop, Stream stream, PeerCredentials peer, std::shared_ptr<FrameServer::Handler> handler,
             std::shared_ptr<int> count)
      : loop_(loop),
        stream_(std::move(stream)),
        peer_(peer),
        handler_(std::move(handler)),
        count_(std::move(count)),
        reader_(kMaxRequest) {
    ++*count_;
  }
  ~Connection() { --*count_; }

  void read() {
    idle_ = loop_.after(kIdle, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->close();
    });
    stream_.async_read_some(asio::buffer(chunk_),
                            [self = shared_from_this()](const boost::system::error_code& error, std::size_t n) {
                              if (error) return self->close();
                              if (auto fed = self->reader_.feed({self->chunk_.data(), n}); !fed) {
                                log::warn("bad frame on admin.sock",
                                          {{"error", fed.error().message()}, {"uid", std::to_string(self->peer_.uid)}});
                                return self->close();
                              }
                              self->take();
                            });
  }

 private:
  void take() {
    std::string request;
    if (!reader_.next(request)) return read();
    idle_.reset();  // the job has its own time limit
    (*handler_)(peer_, std::move(request),
                [self = shared_from_this()](std::string answer) { self->write(std::move(answer)); });
  }

  void write(std::string answer) {
    out_ = frame::encode(answer);
    asio::async_write(stream_, asio::buffer(out_),
                      [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
                        if (error) return self->close();
                        self->take();
                      });
  }

  void close() {
    idle_.reset();
    boost::system::error_code ignored;
    stream_.close(ignored);
  }

  AsioLoop& loop_;
  Stream stream_;
  PeerCredentials peer_;
  std::shared_ptr<FrameServer::Handler> handler_;  // outlives the server, as the connection may
  std::shared_ptr<int> count_;
  frame::Reader reader_;
  std::array<char, 8192> chunk_{};
  std::string out_;
  std::unique_ptr<Loop::Timer> idle_;
};

}  // namespace

struct FrameServer::Impl : std::enable_shared_from_this<Impl> {
  Impl(AsioLoop& l, ListeningSocket s, Handler h)
      : loop(l),
        socket(std::move(s)),
        handler(std::make_shared<Handler>(std::move(h))),
        descriptor(l.context(), socket.fd.get()) {}
  ~Impl() {
    if (descriptor.is_open()) descriptor.release();
    unlink_unix(socket);
  }

  void wait() {
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [weak = weak_from_this()](const boost::system::error_code& error) {
                            auto self = weak.lock();
                            if (error || !self) return;
                            if (self->accept_one()) return self->wait();
                            self->retry = self->loop.after(kAcceptPause, [weak] {
                              if (auto again = weak.lock()) again->wait();
                            });
                          });
  }

  // False when out of descriptors: the connection stays in the backlog, and spinning on it would take the core.
  bool accept_one() {
    UniqueFd fd(::accept4(socket.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    if (*connections >= kMaxConnections) return true;
    auto peer = peer_of(fd.get());
    if (!peer) return true;
    Stream stream(loop.context());
    boost::system::error_code error;
    stream.assign(asio::local::stream_protocol(), fd.get(), error);
    if (error) return true;
    fd.release();
    std::make_shared<Connection>(loop, std::move(stream), *peer, handler, connections)->read();
    return true;
  }

  AsioLoop& loop;
  ListeningSocket socket;
  std::shared_ptr<Handler> handler;
  asio::posix::stream_descriptor descriptor;
  std::shared_ptr<int> connections = std::make_shared<int>(0);
  std::unique_ptr<Loop::Timer> retry;
};

FrameServer::FrameServer(AsioLoop& loop, ListeningSocket socket, Handler handler)
    : impl_(std::make_shared<Impl>(loop, std::move(socket), std::move(handler))) {}
FrameServer::~FrameServer() {
  stop();
}
void FrameServer::start() {
  impl_->wait();
}
void FrameServer::stop() {
  if (!impl_->descriptor.is_open()) return;
  boost::system::error_code ignored;
  impl_->descriptor.cancel(ignored);
}

}  // namespace hawser::rpc
