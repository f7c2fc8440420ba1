// SPDX-License-Identifier: Apache-2.0
// How the stream moves to a new connection while the old one still works.
#include "base/log.h"
#include "xds/upstream.h"

namespace hawser::xds {
namespace {

// A connection is made in a few milliseconds on a good day; gRPC offers no call-back for it.
constexpr std::chrono::milliseconds kConnectPoll{10};
// The old stream stays open for as long: a plane that counts a host's streams is never at none.
constexpr std::chrono::seconds kOverlap{2};
constexpr std::chrono::seconds kMoveAgain{2};
constexpr std::size_t kMostRetiring = 2;

}  // namespace

void Upstream::watch_drain() {
  drain_timer_ = strand_.after(options_.drain_poll, [this] {
    if (stream_ == nullptr || closing_ || released_ || !stream_->draining() || !stands_) {
      leave_at_.reset();
    } else {
      if (!leave_at_) leave_at_ = strand_.now() + policy_.leave_after();
      // A plane that drains each connection at once is not to be hammered: then we stay until it ends the stream.
      if (strand_.now() >= *leave_at_ && policy_.allowed(strand_.now()))
        move("the control plane drains the connection");
    }
    watch_drain();
  });
}

void Upstream::move(const std::string& reason) {
  if (state_ == State::kWaiting) {
    log::info("re-opening the control plane's stream", {{"reason", reason}});
    return connect();
  }
  if (state_ != State::kOpen || closing_ || released_ || stopping_ || moving_ || failure_) return;
  if (retiring_.size() >= kMostRetiring) return;
  log::info("moving to a new connection to the control plane", {{"reason", reason}});
  moving_ = true;
  policy_.attempted(strand_.now());
  user_.fetch_material(++attempt_);
}

void Upstream::prepare_move(const Material& material) {
  if (const auto error = unfit(material)) {
    log::warn("can't move to a new connection to the control plane", {{"cause", error->to_string()}});
    return give_up_move();
  }
  next_.number = ++numbers_;
  next_.route = *material.route;
  next_.until = strand_.now() + options_.connect_timeout;
  next_.stream = make_stream(next_.number, material);
  next_.stream->connect();
  watch_move();
}

void Upstream::watch_move() {
  if (released_ || closing_ || stream_ == nullptr) return give_up_move();
  if (next_.stream->connected()) return take_over();
  if (strand_.now() >= next_.until) {
    const Error error(Code::kUnavailable, "HWS-XDS-001", "no new connection to the control plane",
                      "check the address, the route and the firewall between the host and the control plane");
    log::warn(error.to_string());
    if (next_.route) user_.on_route_tried(*next_.route, error);
    return give_up_move();
  }
  move_timer_ = strand_.after(kConnectPoll, [this] { watch_move(); });
}

// The old stream goes on. moving_ keeps the next try away for a while.
void Upstream::give_up_move() {
  next_ = Next();
  if (!moving_) return;
  move_timer_ = strand_.after(kMoveAgain, [this] { moving_ = false; });
}

void Upstream::take_over() {
  moving_ = false;
  move_timer_.reset();
  retiring_.emplace(std::piecewise_construct, std::forward_as_tuple(number_),
                    std::forward_as_tuple(strand_, std::move(stream_), reading_, writing_));
  user_.on_upstream_moving();
  stream_ = std::move(next_.stream);
  route_ = std::move(next_.route);
  number_ = next_.number;
  next_ = Next();
  retire_timer_ = strand_.after(kOverlap, [this] { end_retiring(); });
  begin();
}

void Upstream::end_retiring() {
  retire_timer_.reset();
  for (auto& [number, stream] : retiring_) stream.end();
}

RetiringStream* Upstream::retiring(std::uint64_t number) {
  const auto found = retiring_.find(number);
  return found == retiring_.end() ? nullptr : &found->second;
}

}  // namespace hawser::xds
