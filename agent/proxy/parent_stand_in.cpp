// SPDX-License-Identifier: Apache-2.0
#include "proxy/parent_stand_in.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/log.h"

namespace hawser::proxy {
namespace {

namespace asio = boost::asio;
using namespace std::string_view_literals;

constexpr unsigned kSlots = 3;  // Envoy's epochs share so many names
constexpr unsigned kIds = 10;   // and a base id has so many of them
constexpr unsigned kAtOnce = 16;

// Each message: eight bytes of length, big-endian, then a HotRestartMessage.
constexpr auto kNoStats = "\0\0\0\0\0\0\0\x04\x12\x02\x1a\x00"sv;
constexpr auto kTerminate = "\0\0\0\0\0\0\0\x04\x0a\x02\x2a\x00"sv;

// Source: source/server/hot_restart.proto. Of its requests the successor waits for the answers to these, for ever.
bool waits_for_answer(std::string_view asked) {
  constexpr std::size_t kLength = 8, kTag = 1;
  constexpr auto kPassListenSocket = '\x0a', kShutdownAdmin = '\x12', kStats = '\x1a';
  if (asked.size() <= kLength + kTag || asked[kLength] != '\x0a') return false;
  asked.remove_prefix(kLength + kTag);
  while (!asked.empty() && (static_cast<unsigned char>(asked.front()) & 0x80U) != 0) asked.remove_prefix(1);
  if (asked.size() < 2) return false;
  return asked[1] == kPassListenSocket || asked[1] == kShutdownAdmin || asked[1] == kStats;
}

// Envoy binds the whole of sun_path, zeros included (which is one byte more than Asio's endpoint takes).
sockaddr_un address_of(const std::string& name) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  std::memcpy(out.sun_path, name.data(), std::min(name.size(), sizeof out.sun_path));
  return out;
}

bool same(const sockaddr_un& left, const sockaddr_un& right) {
  return std::memcmp(left.sun_path, right.sun_path, sizeof left.sun_path) == 0;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

std::string ParentStandIn::socket_name(const std::string& role, unsigned base_id, unsigned epoch) {
  std::string name("\0envoy_domain_socket_", 21);
  name += role + "_" + std::to_string(base_id * kIds + epoch % kSlots);
  name.resize(sizeof(sockaddr_un::sun_path), '\0');
  return name;
}

struct ParentStandIn::Impl : std::enable_shared_from_this<Impl> {
  Impl(AsioLoop& loop, UniqueFd fd, const sockaddr_un& name) : socket(loop.context(), fd.release()), child(name) {}

  void listen() {
    socket.async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](const boost::system::error_code& error) {
                        if (error || !self->socket.is_open()) return;
                        self->receive();
                        if (self->socket.is_open()) self->listen();
                      });
  }

  void receive() {
    std::array<char, 4096> message{};
    for (unsigned i = 0; i < kAtOnce && socket.is_open(); ++i) {
      sockaddr_un sender{};
      socklen_t length = sizeof sender;
      const auto size = ::recvfrom(socket.native_handle(), message.data(), message.size(), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&sender), &length);
      if (size < 0) return;
      // Anybody on this host can write here; only the successor is answered.
      if (same(sender, child)) answer(std::string_view(message.data(), static_cast<std::size_t>(size)));
    }
  }

  // One answer does for all: to a wish for a listener's socket it isn't the answer, which counts as a no.
  void answer(std::string_view asked) {
    if (asked == kTerminate) {
      log::info("the proxy needs its lost predecessor no more");
      socket.close();
    } else if (waits_for_answer(asked)) {
      say_none();
    }
  }

  // Should it have ended meanwhile, nobody waits for this.
  void say_none() {
    (void)::sendto(socket.native_handle(), kNoStats.data(), kNoStats.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                   generic(child), sizeof child);
  }

  asio::posix::stream_descriptor socket;
  sockaddr_un child;
};

ParentStandIn::ParentStandIn(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

ParentStandIn::~ParentStandIn() {
  boost::system::error_code ignored;
  impl_->socket.close(ignored);
}

Result<std::unique_ptr<StandIn>> ParentStandIn::open(AsioLoop& loop, unsigned base_id, unsigned epoch) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto name = address_of(socket_name("parent", base_id, epoch + kSlots - 1));
  if (!fd || ::bind(fd.get(), generic(name), sizeof name) != 0)
    return Error(Code::kUnavailable, "HWS-PX-043",
                 std::string("can't stand in for the lost predecessor: ") + std::strerror(errno),
                 "the proxy ends some 14 s after its predecessor, and is started anew by itself");
  auto impl = std::make_shared<Impl>(loop, std::move(fd), address_of(socket_name("child", base_id, epoch)));
  impl->listen();
  // Whatever it had asked the dead one, and is waiting for. If it wasn't, this one answers its next question.
  impl->say_none();
  return std::unique_ptr<StandIn>(new ParentStandIn(std::move(impl)));
}

}  // namespace hawser::proxy
