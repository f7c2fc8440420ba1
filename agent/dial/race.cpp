// SPDX-License-Identifier: Apache-2.0
#include "dial/race.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>

namespace hawser::dial {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

bool parse(const std::string& text, tcp::endpoint& out) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) return false;
  out = tcp::endpoint(address, static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1))));
  return true;
}

struct Lane {
  explicit Lane(asio::io_context& context) : socket(context), limit(context) {}
  tcp::socket socket;
  asio::steady_timer limit;
  bool over = false;
};

}  // namespace

struct Race::Impl : std::enable_shared_from_this<Impl> {
  asio::io_context& context;
  std::vector<std::string> addresses;
  Pace pace;
  std::function<void(Result)> done;
  asio::steady_timer next_start;
  std::deque<Lane> lanes;  // stays where it is while it grows
  std::vector<std::string> causes;
  std::size_t over = 0;

  Impl(asio::io_context& c, std::vector<std::string> a, Pace p, std::function<void(Result)> d)
      : context(c), addresses(std::move(a)), pace(p), done(std::move(d)), next_start(c), causes(addresses.size()) {}

  void start_next() {
    if (!done || lanes.size() >= addresses.size()) return;
    const std::size_t index = lanes.size();
    Lane& lane = lanes.emplace_back(context);
    tcp::endpoint endpoint;
    if (!parse(addresses[index], endpoint)) return fail(index, "not an address");
    auto self = shared_from_this();
    lane.limit.expires_after(pace.timeout);
    lane.limit.async_wait([self, index](error_code error) {
      if (!error) self->fail(index, "no answer");
    });
    lane.socket.async_connect(endpoint, [self, index](error_code error) {
      if (!self->done || self->lanes[index].over) return;
      if (error) return self->fail(index, error.message());
      self->finish(index);
    });
    next_start.expires_after(pace.stagger);
    next_start.async_wait([self](error_code error) {
      if (!error) self->start_next();
    });
  }

  void fail(std::size_t index, const std::string& cause) {
    Lane& lane = lanes[index];
    if (!done || std::exchange(lane.over, true)) return;
    causes[index] = cause;
    close(lane);
    if (++over == addresses.size()) return finish(addresses.size());
    if (lanes.size() == index + 1) start_next();
  }

  static void close(Lane& lane) {
    error_code ignored;
    lane.socket.close(ignored);
    lane.limit.cancel();
  }

  void stop() {
    done = nullptr;
    next_start.cancel();
    for (auto& lane : lanes) close(lane);
  }

  void finish(std::size_t winner) {
    const auto tell = std::exchange(done, nullptr);
    stop();
    if (tell) tell(Result{winner, std::move(causes)});
  }
};

Race::Race(asio::io_context& context, std::vector<std::string> addresses, Pace pace, std::function<void(Result)> done)
    : impl_(std::make_shared<Impl>(context, std::move(addresses), pace, std::move(done))) {
  asio::post(context, [impl = impl_] {
    if (impl->done && impl->addresses.empty()) return impl->finish(0);
    impl->start_next();
  });
}

Race::~Race() {
  impl_->stop();
}

}  // namespace hawser::dial
