// SPDX-License-Identifier: Apache-2.0
#include "proxy/admin_client.h"

#include <sys/un.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace hawser::proxy {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Protocol = asio::local::stream_protocol;

constexpr std::size_t kMaxHeader = 16 * 1024;
// Asio reads into the room that there is; it would begin with 512 bytes.
constexpr std::size_t kReadRoom = 16 * 1024;

class Call : public std::enable_shared_from_this<Call> {
 public:
  Call(AsioLoop& loop, std::string path, const AdminClient::Options& options, std::weak_ptr<bool> alive,
       AdminClient::Done done)
      : stream_(loop.context()), path_(std::move(path)), alive_(std::move(alive)), done_(std::move(done)) {
    stream_.expires_after(options.timeout);
    parser_.header_limit(kMaxHeader);
    parser_.body_limit(options.max_body);
    buffer_.reserve(kReadRoom);
  }

  void run(http::verb verb, const std::string& target) {
    request_.version(11);
    request_.method(verb);
    request_.target(target);
    request_.set(http::field::host, "hawser");
    request_.set(http::field::connection, "close");
    request_.prepare_payload();
    stream_.async_connect(Protocol::endpoint(path_), [self = shared_from_this()](const error_code& error) {
      if (error) return self->fail(error);
      http::async_write(self->stream_, self->request_, [self](const error_code& written, std::size_t) {
        if (written) return self->fail(written);
        self->read();
      });
    });
  }

 private:
  void read() {
    http::async_read(stream_, buffer_, parser_, [self = shared_from_this()](const error_code& error, std::size_t) {
      if (error) return self->fail(error);
      auto message = self->parser_.release();
      self->finish(AdminReply{message.result_int(), std::move(message.body())});
    });
  }

  void fail(const error_code& error) {
    const std::string where = "the proxy's socket " + path_;
    if (error == beast::error::timeout)
      return finish(Error(Code::kDeadlineExceeded, "HWS-PX-001", where + " gave no answer in time",
                          "the proxy's main thread may hang while it still serves; see its log"));
    if (error.category() == http::make_error_code(http::error::bad_version).category() &&
        error != http::error::end_of_stream)
      return finish(Error(Code::kInternal, "HWS-PX-002", where + " gave no usable answer: " + error.message()));
    finish(Error(Code::kUnavailable, "HWS-PX-001", "can't talk to " + where + ": " + error.message(),
                 "is the proxy running?"));
  }

  void finish(Result<AdminReply> reply) {
    stream_.close();
    if (!alive_.expired()) done_(std::move(reply));
    done_ = nullptr;
  }

  beast::basic_stream<Protocol> stream_;
  std::string path_;
  std::weak_ptr<bool> alive_;
  AdminClient::Done done_;
  http::request<http::empty_body> request_;
  http::response_parser<http::string_body> parser_;
  beast::flat_buffer buffer_;
};

}  // namespace

AdminClient::AdminClient(AsioLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)), alive_(std::make_shared<bool>(true)) {}
AdminClient::~AdminClient() = default;

void AdminClient::get(const std::string& generation, const std::string& target, Done done) {
  call(false, generation, target, std::move(done));
}

void AdminClient::post(const std::string& generation, const std::string& target, Done done) {
  call(true, generation, target, std::move(done));
}

std::string AdminClient::socket_path(const std::string& generation) const {
  return options_.folder + "/" + generation + options_.suffix;
}

std::string AdminClient::encode(std::string_view value) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : value) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(kHex[byte >> 4U]);
    out.push_back(kHex[byte & 15U]);
  }
  return out;
}

void AdminClient::call(bool post, const std::string& generation, const std::string& target, Done done) {
  std::string path = socket_path(generation);
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    // Asio's endpoint would throw.
    loop_.post([path, done = std::move(done)] {
      done(Error(Code::kInvalidArgument, "HWS-PX-001", "the proxy socket's path is too long: " + path));
    });
    return;
  }
  std::make_shared<Call>(loop_, std::move(path), options_, alive_, std::move(done))
      ->run(post ? http::verb::post : http::verb::get, target);
}

}  // namespace hawser::proxy
