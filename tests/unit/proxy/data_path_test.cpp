// SPDX-License-Identifier: Apache-2.0
// Sockets that stand for an Envoy's: one that serves users, and one that hands over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

#include "admin_stub.h"
#include "proxy/data_probe.h"
#include "proxy/parent_stand_in.h"

namespace hawser::proxy {
namespace {

using namespace std::string_view_literals;

struct Listening {
  Listening() {
    fd.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    ::listen(fd.get(), 4);
  }
  std::uint16_t port() const { return ntohs(address.sin_port); }

  UniqueFd fd;
  sockaddr_in address{};
};

Status probe(
    std::uint16_t port, const std::function<void()>& meanwhile = [] {}) {
  AsioLoop loop;
  std::optional<Status> result;
  http_data_probe(loop, port, std::chrono::milliseconds(300))([&](Status status) { result = std::move(status); });
  run_until(loop, [&] {
    meanwhile();
    return result.has_value();
  });
  return *result;
}

TEST(DataProbe, AnyAnswerIsASignOfLife) {
  Listening listening;
  UniqueFd peer;
  const auto status = probe(listening.port(), [&] {
    if (peer) return;
    pollfd item{listening.fd.get(), POLLIN, 0};
    if (::poll(&item, 1, 0) < 1) return;
    peer.reset(::accept(listening.fd.get(), nullptr, nullptr));
    const auto answer = http_answer(404, "no");
    ::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  });
  EXPECT_TRUE(status) << status.error().to_string();
}

TEST(DataProbe, TheKernelAcceptsForOneThatHangsAndThatIsNoAnswer) {
  Listening listening;
  const auto status = probe(listening.port());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(status.error().id(), "HWS-PX-041");
}

TEST(DataProbe, NobodyThereIsUnavailable) {
  std::uint16_t port = 0;
  { port = Listening().port(); }
  const auto status = probe(port);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kUnavailable);
}

// ---- a lost parent

constexpr unsigned kBaseId = 21474000;  // nobody's

UniqueFd socket_of(const std::string& name) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << std::strerror(errno);
  return fd;
}

bool send_to_parent(const UniqueFd& from, unsigned epoch, std::string_view message) {
  const auto name = ParentStandIn::socket_name("parent", kBaseId, epoch);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  return ::sendto(from.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&address),
                  sizeof address) >= 0;
}

std::string received(AsioLoop& loop, const UniqueFd& fd, std::chrono::milliseconds within) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  char buffer[64];
  ssize_t size = -1;
  run_until(loop, [&] {
    if (size < 0) size = ::recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    return size >= 0 || std::chrono::steady_clock::now() > deadline;
  });
  return size < 0 ? "" : std::string(buffer, static_cast<std::size_t>(size));
}

constexpr auto kAsks = "\0\0\0\0\0\0\0\x04\x0a\x02\x1a\x00"sv;
constexpr auto kNone = "\0\0\0\0\0\0\0\x04\x12\x02\x1a\x00"sv;
constexpr auto kTerminate = "\0\0\0\0\0\0\0\x04\x0a\x02\x2a\x00"sv;
constexpr auto kDrain = "\0\0\0\0\0\0\0\x04\x0a\x02\x22\x00"sv;

// HotRestartMessage{request{pass_listen_socket{address, worker_index: 1}}}, for addresses of any length.
std::string wants_socket(const std::string& address) {
  const auto varint = [](std::size_t value) {
    std::string out;
    for (; value >= 0x80; value >>= 7U) out += static_cast<char>(value | 0x80U);
    return out + static_cast<char>(value);
  };
  const std::string wish = "\x0a" + varint(address.size()) + address + "\x10\x01";
  const std::string request = "\x0a" + varint(wish.size()) + wish;
  const std::string message = "\x0a" + varint(request.size()) + request;
  return std::string(7, '\0') + static_cast<char>(message.size()) + message;
}

TEST(ParentStandIn, AnswersTheChildUntilItSaysThatTheParentMayEnd) {
  AsioLoop loop;
  const auto child = socket_of(ParentStandIn::socket_name("child", kBaseId, 4));
  auto stand_in = ParentStandIn::open(loop, kBaseId, 4);
  ASSERT_TRUE(stand_in) << stand_in.error().to_string();
  EXPECT_EQ(received(loop, child, std::chrono::seconds(5)), kNone) << "to what it may have asked the dead one";
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(send_to_parent(child, 3, kAsks));
    EXPECT_EQ(received(loop, child, std::chrono::seconds(5)), kNone);
  }
  // A listener that the plane adds: Envoy's main thread would wait for its parent's socket for ever.
  for (const auto& wish : {wants_socket("tcp://0.0.0.0:8443"), wants_socket("unix://" + std::string(100, 'x'))}) {
    ASSERT_TRUE(send_to_parent(child, 3, wish));
    EXPECT_EQ(received(loop, child, std::chrono::seconds(5)), kNone) << "which is no socket";
  }
  ASSERT_TRUE(send_to_parent(child, 3, kTerminate));
  EXPECT_TRUE(run_until(loop, [&] { return !send_to_parent(child, 3, kAsks); })) << "it has closed its socket";
}

TEST(ParentStandIn, AnswersNobodyElseAndNothingElse) {
  AsioLoop loop;
  const auto child = socket_of(ParentStandIn::socket_name("child", kBaseId, 4));
  const auto other = socket_of(ParentStandIn::socket_name("child", kBaseId, 5));
  auto stand_in = ParentStandIn::open(loop, kBaseId, 4);
  ASSERT_TRUE(stand_in);
  EXPECT_EQ(received(loop, child, std::chrono::seconds(5)), kNone);
  ASSERT_TRUE(send_to_parent(other, 3, kAsks));
  ASSERT_TRUE(send_to_parent(other, 3, kTerminate));
  for (const std::string_view message : {"x"sv, kDrain, std::string_view(kAsks).substr(0, 9)})
    ASSERT_TRUE(send_to_parent(child, 3, message));
  ASSERT_TRUE(send_to_parent(child, 3, kAsks));
  EXPECT_EQ(received(loop, child, std::chrono::seconds(5)), kNone);
  EXPECT_EQ(received(loop, child, std::chrono::milliseconds(50)), "");
  EXPECT_EQ(received(loop, other, std::chrono::milliseconds(50)), "");
}

TEST(ParentStandIn, LeavesTheNameToOneThatHasIt) {
  AsioLoop loop;
  const auto parent = socket_of(ParentStandIn::socket_name("parent", kBaseId, 3));
  const auto stand_in = ParentStandIn::open(loop, kBaseId, 4);
  ASSERT_FALSE(stand_in);
  EXPECT_EQ(stand_in.error().id(), "HWS-PX-043");
}

}  // namespace
}  // namespace hawser::proxy
