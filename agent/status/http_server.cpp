// SPDX-License-Identifier: Apache-2.0
#include "status/http_server.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <map>
#include <optional>
#include <vector>

#include "base/log.h"

namespace hawser::status {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t kMaxHeader = 16 * 1024;
constexpr std::size_t kMaxBody = 4 * 1024;
constexpr auto kAcceptPause = std::chrono::milliseconds(200);

// What connections share with the server; they may outlive it by the length of a pending handler.
struct Shared {
  AsioLoop& loop;
  HttpServer::Options options;
  std::map<std::string, HttpServer::Handler> routes;
  unsigned connections = 0;
  bool stopped = false;
};

HttpRequest request_of(std::string_view target) {
  const auto mark = target.find('?');
  HttpRequest out;
  out.path = std::string(target.substr(0, mark));
  if (mark != std::string_view::npos) out.query = std::string(target.substr(mark + 1));
  return out;
}

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Shared> shared, tcp::socket socket)
      : shared_(std::move(shared)), stream_(std::move(socket)) {
    ++shared_->connections;
  }
  ~Connection() { --shared_->connections; }

  void read() {
    parser_.emplace();
    parser_->header_limit(kMaxHeader);
    parser_->body_limit(kMaxBody);
    stream_.expires_after(shared_->options.io_timeout);
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](const error_code& error, std::size_t) {
      if (self->shared_->stopped) return self->close();
      if (!error) return self->dispatch();
      self->refuse(error);
    });
  }

  void close() {
    timer_.reset();
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
    stream_.close();
  }

 private:
  // Only what the peer can be told about; a closed or idle connection just ends.
  void refuse(const error_code& error) {
    keep_alive_ = false;
    head_ = false;
    if (error == http::error::header_limit) return write(text_response(431, "header too large\n"));
    if (error == http::error::body_limit) return write(text_response(413, "body too large\n"));
    if (error == http::error::end_of_stream || error == http::error::partial_message) return close();
    if (error.category() == http::make_error_code(http::error::bad_method).category())
      return write(text_response(400, "bad request\n"));
    close();
  }

  void dispatch() {
    const auto& request = parser_->get();
    keep_alive_ = request.keep_alive();
    head_ = request.method() == http::verb::head;
    const auto wanted = request_of(std::string_view(request.target().data(), request.target().size()));
    const auto route = shared_->routes.find(wanted.path);
    if (route == shared_->routes.end()) return write(text_response(404, "not found\n"));
    if (!head_ && request.method() != http::verb::get) return write(text_response(405, "method not allowed\n"));
    call(route->second, wanted);
  }

  void call(const HttpServer::Handler& handler, const HttpRequest& wanted) {
    const unsigned turn = ++turn_;
    const std::weak_ptr<Connection> weak = weak_from_this();
    timer_ = shared_->loop.after(shared_->options.handler_timeout, [self = shared_from_this(), turn] {
      self->answer(turn, text_response(503, "no answer in time\n"));
    });
    stream_.expires_never();
    handler(wanted, [weak, turn](HttpResponse response) {
      if (auto self = weak.lock()) self->answer(turn, std::move(response));
    });
  }

  void answer(unsigned turn, HttpResponse response) {
    if (turn != turn_) return;  // the time-out has answered
    ++turn_;
    // The handler may run inside the timer's own callback, which keeps `this` alive.
    const auto keep = shared_from_this();
    timer_.reset();
    if (shared_->stopped) return close();
    write(std::move(response));
  }

  void write(HttpResponse response) {
    body_ = response.body ? std::move(response.body) : std::make_shared<const std::string>();
    message_.emplace(static_cast<http::status>(response.status), 11);
    message_->set(http::field::server, "hawserd");
    message_->set(http::field::content_type, response.content_type);
    message_->set(http::field::cache_control, "no-store");
    message_->set("X-Content-Type-Options", "nosniff");
    if (response.status == 405) message_->set(http::field::allow, "GET, HEAD");
    message_->keep_alive(keep_alive_);
    message_->content_length(body_->size());
    if (!head_) message_->body() = {body_->data(), body_->size()};
    serializer_.emplace(*message_);
    serializer_->split(head_);  // a HEAD's answer ends behind the header, though it names the length
    stream_.expires_after(shared_->options.io_timeout);
    const auto done = [self = shared_from_this()](const error_code& error, std::size_t) {
      self->body_.reset();
      if (error || !self->keep_alive_ || self->shared_->stopped) return self->close();
      self->read();
    };
    if (head_)
      http::async_write_header(stream_, *serializer_, done);
    else
      http::async_write(stream_, *serializer_, done);
  }

  using Body = http::span_body<const char>;

  std::shared_ptr<Shared> shared_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{kMaxHeader + kMaxBody};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<Body>> message_;
  std::optional<http::response_serializer<Body>> serializer_;
  std::shared_ptr<const std::string> body_;
  std::unique_ptr<Loop::Timer> timer_;
  unsigned turn_ = 0;
  bool keep_alive_ = false;
  bool head_ = false;
};

Error port_error(const error_code& error, const std::string& where, std::uint16_t port) {
  if (error == asio::error::address_in_use)
    return {Code::kFailedPrecondition, "HWS-ST-001",
            "port " + std::to_string(port) + " is in use: hawserd can't listen on " + where,
            "find its owner with: ss -Hltnp 'sport = :" + std::to_string(port) + "'; stop it, or set status.port"};
  return errno_error(error.value(), "HWS-ST-002", "can't listen on " + where);
}

}  // namespace

HttpResponse text_response(int status, std::string body) {
  HttpResponse out;
  out.status = status;
  out.body = std::make_shared<const std::string>(std::move(body));
  return out;
}

struct HttpServer::Impl : std::enable_shared_from_this<Impl> {
  struct Listener {
    explicit Listener(asio::io_context& context) : acceptor(context) {}
    tcp::acceptor acceptor;
    std::unique_ptr<Loop::Timer> retry;
  };

  Impl(AsioLoop& loop, Options options) : shared(std::make_shared<Shared>(Shared{loop, std::move(options), {}})) {}

  // The two families get a socket each: one dual-stack socket would show IPv4 peers as mapped addresses, and wouldn't
  // work where IPv6 is switched off.
  Status open(const std::string& address, std::uint16_t port, bool v6) {
    const std::string where = (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
    error_code error;
    const auto ip = asio::ip::make_address(address, error);
    if (error || ip.is_v6() != v6)
      return Error(Code::kInvalidArgument, "HWS-ST-002", "'" + address + "' is no address to listen on");
    auto listener = std::make_unique<Listener>(shared->loop.context());
    auto& acceptor = listener->acceptor;
    acceptor.open(v6 ? tcp::v6() : tcp::v4(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error && v6) acceptor.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor.bind({ip, port}, error);
    if (v6 && (error == asio::error::address_family_not_supported || error.value() == EADDRNOTAVAIL)) {
      log::info("no IPv6 on this host: status is served on IPv4 only");
      return {};
    }
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return port_error(error, where, port);
    acceptor.non_blocking(true, error);
    listeners.push_back(std::move(listener));
    return {};
  }

  Status start() {
    const auto& options = shared->options;
    std::uint16_t port = options.port;
    if (!options.address4.empty()) {
      if (auto opened = open(options.address4, port, false); !opened) return opened;
      if (port == 0) port = bound_port();
    }
    if (!options.address6.empty()) {
      if (auto opened = open(options.address6, port, true); !opened) return stop(), opened;
    }
    shared->stopped = false;
    for (auto& listener : listeners) accept(*listener);
    return {};
  }

  void accept(Listener& listener) {
    listener.acceptor.async_accept([weak = weak_from_this(), &listener](const error_code& error, tcp::socket socket) {
      auto self = weak.lock();
      if (!self || self->shared->stopped) return;
      if (!error) {
        self->take(std::move(socket));
        return self->accept(listener);
      }
      if (error == asio::error::operation_aborted) return;
      // Out of descriptors: the connection stays in the backlog, and trying again at once would take the core.
      listener.retry = self->shared->loop.after(kAcceptPause, [weak, &listener] {
        if (auto again = weak.lock(); again && !again->shared->stopped) again->accept(listener);
      });
    });
  }

  void take(tcp::socket socket) {
    if (shared->connections >= shared->options.max_connections) return;  // closed by its destructor
    auto connection = std::make_shared<Connection>(shared, std::move(socket));
    std::erase_if(open_connections, [](const auto& weak) { return weak.expired(); });
    open_connections.push_back(connection);
    connection->read();
  }

  void stop() {
    shared->stopped = true;
    for (auto& listener : listeners) {
      error_code ignored;
      listener->acceptor.close(ignored);
      listener->retry.reset();
    }
    for (auto& weak : open_connections)
      if (auto connection = weak.lock()) connection->close();
    open_connections.clear();
  }

  std::uint16_t bound_port() const {
    error_code ignored;
    return listeners.empty() ? std::uint16_t{0} : listeners.front()->acceptor.local_endpoint(ignored).port();
  }

  std::shared_ptr<Shared> shared;
  // Kept until the server goes, as pending accepts refer to them.
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<std::weak_ptr<Connection>> open_connections;
};

HttpServer::HttpServer(AsioLoop& loop, Options options) : impl_(std::make_shared<Impl>(loop, std::move(options))) {}
HttpServer::~HttpServer() {
  stop();
}
void HttpServer::route(const std::string& path, Handler handler) {
  impl_->shared->routes[path] = std::move(handler);
}
Status HttpServer::start() {
  return impl_->start();
}
void HttpServer::stop() {
  impl_->stop();
}
std::uint16_t HttpServer::port() const {
  return impl_->bound_port();
}
unsigned HttpServer::connections() const {
  return impl_->shared->connections;
}

}  // namespace hawser::status
