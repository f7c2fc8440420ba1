// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace hawser::registration {

// What: a stream of bytes of which only that is known: TLS over it, and HTTP over either, are compiled once, and not
// once for each layer that a probe may have below (three minutes for one file). As Asio's AsyncStream has it, of each
// sequence the first buffer is used, which is all that they are given here.
// Threading: that of the stream below, which has to outlive it. Failure: the stream's own.
class ProbeStream {
 public:
  using executor_type = boost::asio::any_io_executor;
  using lowest_layer_type = ProbeStream;
  using Failure = boost::system::error_code;
  using Done = std::function<void(const Failure&, std::size_t)>;

  virtual ~ProbeStream() = default;
  virtual executor_type get_executor() = 0;
  virtual void read(boost::asio::mutable_buffer into, Done done) = 0;
  virtual void write(boost::asio::const_buffer from, Done done) = 0;

  lowest_layer_type& lowest_layer() { return *this; }

  template <typename Buffers, typename Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return boost::asio::async_initiate<Token, void(Failure, std::size_t)>(
        [this](auto handler, boost::asio::mutable_buffer into) { read(into, shared(std::move(handler))); }, token,
        boost::asio::mutable_buffer(*boost::asio::buffer_sequence_begin(buffers)));
  }
  template <typename Buffers, typename Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return boost::asio::async_initiate<Token, void(Failure, std::size_t)>(
        [this](auto handler, boost::asio::const_buffer from) { write(from, shared(std::move(handler))); }, token,
        boost::asio::const_buffer(*boost::asio::buffer_sequence_begin(buffers)));
  }

 private:
  // Handlers can be moved only, and std::function copies.
  template <typename Handler>
  static Done shared(Handler handler) {
    return [held = std::make_shared<Handler>(std::move(handler))](const Failure& failed, std::size_t count) {
      std::move (*held)(failed, count);
    };
  }
};

template <typename Stream>
class ProbeStreamOver final : public ProbeStream {
 public:
  explicit ProbeStreamOver(Stream& stream) : stream_(stream) {}
  executor_type get_executor() override { return stream_.get_executor(); }
  void read(boost::asio::mutable_buffer into, Done done) override { stream_.async_read_some(into, std::move(done)); }
  void write(boost::asio::const_buffer from, Done done) override { stream_.async_write_some(from, std::move(done)); }

 private:
  Stream& stream_;
};

}  // namespace hawser::registration
