// SPDX-License-Identifier: Apache-2.0
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <map>
#include <memory>

#include "load.h"

namespace hawser::hand_over {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// A gRPC message: not compressed, its length, its bytes.
const std::string kMessage = [] {
  const std::string text = "a message that comes back";
  return std::string{'\0', '\0', '\0', '\0', static_cast<char>(text.size())} + text;
}();

struct Request {
  Clock::time_point due, sent;
  std::size_t written = 0;
  std::string body, status, grpc_status;
};

// One connection, with what is under way on it. A request is written at once, so that whatever was begun here was sent;
// what the other side then doesn't answer has failed.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Failed = std::function<void(const std::string& why)>;

  Connection(asio::io_context& io, Tally& tally, const Target& target) : tally_(tally), target_(target), socket_(io) {}
  ~Connection() { nghttp2_session_del(session_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void open() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_closed);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
    socket_.async_connect(target_.address, [self = shared_from_this()](error_code error) { self->connected(error); });
  }

  // The other side wants no more requests on it, or it's gone.
  bool leaving() const { return leaving_; }

  void send(Clock::time_point due) {
    auto request = std::make_unique<Request>();
    request->due = due;
    request->sent = Clock::now();
    const std::string authority = target_.address.address().to_string();
    const std::array<nghttp2_nv, 6> headers = {
        header(":method", "POST"),       header(":scheme", "http"), header(":path", "/bench.Echo/Once"),
        header(":authority", authority), header("te", "trailers"),  header("content-type", "application/grpc")};
    nghttp2_data_provider provider{{.ptr = request.get()}, read_body};
    const int id = nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &provider, request.get());
    if (id < 0) return tally_.failed(Kind::kHttp2, std::string("not begun: ") + nghttp2_strerror(id));
    requests_[id] = std::move(request);
    flush();
  }

  // Is it still of use, to itself or to others? None is waited for any longer than others wait.
  bool alive() {
    if (!requests_.empty() && requests_.begin()->second->sent + kTimeout < Clock::now()) close("no answer in time");
    return !closed_;
  }
  void abandon() {
    stopped_ = true;
    close("");
  }

 private:
  static nghttp2_nv header(std::string_view name, std::string_view value) {
    const auto bytes = [](std::string_view text) {
      return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
    };
    return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
  }

  static ssize_t read_body(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room, std::uint32_t* flags,
                           nghttp2_data_source* source, void*) {
    auto& request = *static_cast<Request*>(source->ptr);
    const std::size_t size = std::min(room, kMessage.size() - request.written);
    std::copy_n(kMessage.begin() + static_cast<std::ptrdiff_t>(request.written), size, to);
    request.written += size;
    if (request.written == kMessage.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(size);
  }

  static Request* request_of(nghttp2_session* session, std::int32_t id) {
    return static_cast<Request*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t, void*) {
    auto* request = request_of(session, frame->hd.stream_id);
    if (request == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":status") request->status = text;
    if (key == "grpc-status") request->grpc_status = text;
    return 0;
  }

  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                     std::size_t size, void*) {
    if (auto* request = request_of(session, id)) request->body.append(reinterpret_cast<const char*>(bytes), size);
    return 0;
  }

  static int on_closed(nghttp2_session*, std::int32_t id, std::uint32_t code, void* self) {
    static_cast<Connection*>(self)->closed(id, code);
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    if (frame->hd.type == NGHTTP2_GOAWAY) static_cast<Connection*>(self)->leaving_ = true;
    return 0;
  }

  void closed(std::int32_t id, std::uint32_t code) {
    const auto at = requests_.find(id);
    if (at == requests_.end()) return;
    const auto request = std::move(at->second);
    requests_.erase(at);
    if (stopped_) return;
    if (code != NGHTTP2_NO_ERROR)
      tally_.failed(Kind::kHttp2, std::string("reset: ") + nghttp2_http2_strerror(code));
    else if (request->status != "200" || request->grpc_status != "0" || request->body != kMessage)
      tally_.failed(Kind::kHttp2, "status " + request->status + ", grpc " + request->grpc_status);
    else
      tally_.good(Kind::kHttp2, request->due);
  }

  void connected(error_code error) {
    if (error) return close("connect: " + error.message());
    socket_.set_option(tcp::no_delay(true), error);
    connected_ = true;
    flush();
    read();
  }

  void read() {
    socket_.async_read_some(asio::buffer(buffer_), [self = shared_from_this()](error_code error, std::size_t size) {
      if (error) return self->close("read: " + error.message());
      const auto taken = nghttp2_session_mem_recv(self->session_, self->buffer_.data(), size);
      if (taken < 0) return self->close(nghttp2_strerror(static_cast<int>(taken)));
      self->flush();
      if (self->leaving_ && self->requests_.empty()) return self->close("");
      self->read();
    });
  }

  void flush() {
    if (!connected_ || writing_ || closed_) return;
    out_.clear();
    const std::uint8_t* bytes = nullptr;
    for (ssize_t size = 0; (size = nghttp2_session_mem_send(session_, &bytes)) > 0;)
      out_.insert(out_.end(), bytes, bytes + size);
    if (out_.empty()) return;
    writing_ = true;
    asio::async_write(socket_, asio::buffer(out_), [self = shared_from_this()](error_code error, std::size_t) {
      self->writing_ = false;
      if (error) return self->close("write: " + error.message());
      self->flush();
    });
  }

  void close(const std::string& why) {
    if (std::exchange(closed_, true)) return;
    leaving_ = true;
    error_code ignored;
    socket_.close(ignored);
    for (std::size_t i = 0; !stopped_ && i < requests_.size(); ++i) tally_.failed(Kind::kHttp2, why);
    requests_.clear();
  }

  Tally& tally_;
  Target target_;
  tcp::socket socket_;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, std::unique_ptr<Request>> requests_;  // by stream, so by age
  std::array<std::uint8_t, 16384> buffer_{};
  std::vector<std::uint8_t> out_;
  bool connected_ = false, writing_ = false, leaving_ = false, closed_ = false, stopped_ = false;
};

class Http2 final : public Load {
 public:
  Http2(asio::io_context& io, Tally& tally, const Target& target)
      : io_(io),
        tally_(tally),
        target_(target),
        apart_(static_cast<Nanoseconds>(1e9 / target.rate)),
        connections_(target.connections),
        timer_(io),
        due_(Clock::now()) {
    next();
  }

  void stop() override {
    timer_.cancel();
    for (auto& connection : connections_)
      if (connection) connection->abandon();
    for (auto& connection : leaving_) connection->abandon();
  }

 private:
  void next() {
    for (const auto now = Clock::now(); due_ <= now; due_ += apart_) {
      if (due_ + std::chrono::seconds(1) < now) due_ = now;
      send();
    }
    timer_.expires_at(due_);
    timer_.async_wait([this](error_code error) {
      if (!error) next();
    });
  }

  // Those that leave live on until what is under way on them is done.
  void send() {
    auto& connection = connections_[turn_++ % connections_.size()];
    std::erase_if(leaving_, [](const auto& old) { return !old->alive(); });
    if (connection && connection->alive() && connection->leaving()) leaving_.push_back(connection);
    if (!connection || connection->leaving()) {
      connection = std::make_shared<Connection>(io_, tally_, target_);
      connection->open();
    }
    connection->send(due_);
  }

  asio::io_context& io_;
  Tally& tally_;
  Target target_;
  std::chrono::nanoseconds apart_;
  std::vector<std::shared_ptr<Connection>> connections_, leaving_;
  std::size_t turn_ = 0;
  asio::steady_timer timer_;
  Clock::time_point due_;
};

}  // namespace

std::unique_ptr<Load> start_http2(asio::io_context& io, Tally& tally, const Target& target) {
  return std::make_unique<Http2>(io, tally, target);
}

}  // namespace hawser::hand_over
