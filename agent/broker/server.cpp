// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/server.h"

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <set>

#include "base/frame.h"
#include "base/log.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Socket = asio::local::stream_protocol::socket;

constexpr auto kAcceptRetry = std::chrono::milliseconds(100);

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Impl> {
  class Session;

  Impl(AsioLoop& event_loop, ListeningSocket listening, Options given, Handler handle)
      : loop(event_loop),
        socket(std::move(listening)),
        options(given),
        handler(std::move(handle)),
        acceptor(loop.context()) {}

  void accept();
  void admit(Socket peer);

  AsioLoop& loop;
  ListeningSocket socket;
  Options options;
  Handler handler;
  asio::local::stream_protocol::acceptor acceptor;
  std::set<std::shared_ptr<Session>> sessions;
  std::unique_ptr<Loop::Timer> retry;
  std::uint64_t refused = 0;
};

// One connection. Requests are taken one at a time: the next is read when the last is answered.
class Server::Impl::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Impl& server, Socket socket)
      : server_(server), socket_(std::move(socket)), reader_(server.options.max_frame) {}

  void next() {
    // Idle, or too slow in sending or taking a frame: the same time holds for all three.
    timer_ = server_.loop.after(server_.options.idle, [self = weak_from_this()] {
      if (auto session = self.lock()) session->close();
    });
    std::string payload;
    if (reader_.next(payload)) return handle(payload);
    read();
  }

  void close() {
    timer_.reset();
    error_code ignored;
    socket_.close(ignored);
    server_.sessions.erase(shared_from_this());
  }

 private:
  void read() {
    socket_.async_read_some(asio::buffer(chunk_), [self = shared_from_this()](const error_code& error, std::size_t n) {
      if (error) return self->closed(error);
      self->received(n);
    });
  }

  void received(std::size_t n) {
    if (auto fed = reader_.feed({chunk_, n}); !fed) return reject();
    std::string payload;
    if (!reader_.next(payload)) return read();
    handle(payload);
  }

  void handle(const std::string& payload) {
    v1::Request request;
    if (!request.ParseFromString(payload)) return reject();
    timer_.reset();  // a job takes the time it takes; each has its own limit
    server_.handler(request, [self = shared_from_this()](const v1::Response& response) { self->answer(response); });
  }

  void answer(const v1::Response& response) {
    if (!socket_.is_open()) return;
    frame_ = frame::encode(response.SerializeAsString());
    timer_ = server_.loop.after(server_.options.idle, [self = weak_from_this()] {
      if (auto session = self.lock()) session->close();
    });
    asio::async_write(socket_, asio::buffer(frame_), [self = shared_from_this()](const error_code& error, std::size_t) {
      if (error) return self->closed(error);
      self->next();
    });
  }

  void reject() {
    ++server_.refused;
    log::warn("a request that can't be read was refused");
    close();
  }

  void closed(const error_code& error) {
    // After close() of our own the server may be gone already.
    if (error != asio::error::operation_aborted) close();
  }

  Impl& server_;
  Socket socket_;
  frame::Reader reader_;
  std::unique_ptr<Loop::Timer> timer_;
  std::string frame_;
  char chunk_[16384] = {};
};

void Server::Impl::accept() {
  acceptor.async_accept([self = weak_from_this()](const error_code& error, Socket peer) {
    auto impl = self.lock();
    if (!impl || error == asio::error::operation_aborted) return;
    if (!error) {
      impl->admit(std::move(peer));
      return impl->accept();
    }
    // Out of descriptors, most likely: trying again at once would only spin.
    impl->retry = impl->loop.after(kAcceptRetry, [self] {
      if (auto again = self.lock()) again->accept();
    });
  });
}

void Server::Impl::admit(Socket peer) {
  const auto who = peer_of(peer.native_handle());
  const bool allowed = who && (who->uid == 0 || who->uid == options.agent_uid);
  if (!allowed || sessions.size() >= options.max_connections) {
    ++refused;
    log::warn(
        allowed ? "a connection was refused: too many" : "a connection was refused: only root and hawserd are served",
        {{"uid", who ? std::to_string(who->uid) : "unknown"}});
    return;
  }
  auto session = std::make_shared<Session>(*this, std::move(peer));
  sessions.insert(session);
  session->next();
}

Server::Server(AsioLoop& loop, ListeningSocket socket, Options options, Handler handler)
    : impl_(std::make_shared<Impl>(loop, std::move(socket), options, std::move(handler))) {}

Server::~Server() {
  stop();
}

Status Server::start() {
  error_code error;
  impl_->acceptor.assign(asio::local::stream_protocol(), impl_->socket.fd.get(), error);
  if (error)
    return Error(Code::kInternal, "HWS-BR-004", "can't serve " + impl_->socket.path + ": " + error.message(),
                 "report this");
  impl_->accept();
  return {};
}

void Server::stop() {
  if (!impl_->socket.fd) return;
  unlink_unix(impl_->socket);
  error_code ignored;
  // The acceptor closes the descriptor; without it, its owner does.
  if (impl_->acceptor.is_open()) impl_->acceptor.release(ignored);
  impl_->socket.fd.reset();
  impl_->socket.lock.reset();
  impl_->retry.reset();
  const auto sessions = impl_->sessions;
  for (const auto& session : sessions) session->close();
}

std::uint64_t Server::refused() const {
  return impl_->refused;
}

}  // namespace hawser::broker
