// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <future>
#include <thread>

#include "base/frame.h"
#include "hawser/broker.pb.h"
#include "temporary_folder.h"

namespace hawser::broker {
namespace {

// A server on a loop of its own, which answers `observe` with what it was asked how often.
class Served {
 public:
  explicit Served(Server::Options options = {}) {
    auto listening = listen_unix("broker", path(), 0660);
    EXPECT_TRUE(listening) << listening.error().to_string();
    server_ = std::make_unique<Server>(loop_, std::move(*listening), options,
                                       [this](const v1::Request&, const Server::Answer& answer) {
                                         v1::Response response;
                                         response.mutable_observe()->set_digest(std::to_string(++handled_));
                                         answer(response);
                                       });
    EXPECT_TRUE(server_->start());
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Served() {
    loop_.post([this] {
      server_->stop();
      loop_.stop();
    });
    thread_.join();
  }

  std::string path() const { return folder_ / "broker.sock"; }
  std::uint64_t refused() {
    std::promise<std::uint64_t> answer;
    loop_.post([&] { answer.set_value(server_->refused()); });
    return answer.get_future().get();
  }

 private:
  TemporaryFolder folder_;
  AsioLoop loop_;
  int handled_ = 0;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

UniqueFd connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

std::string observe_frame() {
  v1::Request request;
  request.mutable_observe();
  return frame::encode(request.SerializeAsString());
}

// What comes until a whole frame, or the end, is there.
std::string receive(int fd) {
  frame::Reader reader;
  std::string payload;
  char chunk[4096];
  while (!reader.next(payload)) {
    const ssize_t n = ::recv(fd, chunk, sizeof chunk, 0);
    if (n <= 0) return "closed";
    EXPECT_TRUE(reader.feed({chunk, static_cast<std::size_t>(n)}));
  }
  v1::Response response;
  EXPECT_TRUE(response.ParseFromString(payload));
  return response.observe().digest();
}

void send_all(int fd, const std::string& bytes) {
  EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

TEST(Server, RequestsOfOneConnectionAreAnsweredInOrder) {
  Served served;
  const UniqueFd fd = connect_to(served.path());
  send_all(fd.get(), observe_frame() + observe_frame() + observe_frame());
  EXPECT_EQ(receive(fd.get()), "1");
}

TEST(Server, AFrameMayArriveByteByByte) {
  Served served;
  const UniqueFd fd = connect_to(served.path());
  for (const char byte : observe_frame()) send_all(fd.get(), std::string(1, byte));
  EXPECT_EQ(receive(fd.get()), "1");
}

TEST(Server, AFrameOverTheLimitIsClosedBeforeItIsRead) {
  Served served;
  const UniqueFd fd = connect_to(served.path());
  send_all(fd.get(), std::string("\x00\x20\x00\x00", 4));
  EXPECT_EQ(receive(fd.get()), "closed");
  EXPECT_EQ(served.refused(), 1U);
}

TEST(Server, BytesThatAreNoRequestAreClosed) {
  Served served;
  const UniqueFd fd = connect_to(served.path());
  send_all(fd.get(), frame::encode("\xff\xff\xff"));
  EXPECT_EQ(receive(fd.get()), "closed");
}

TEST(Server, AnIdleConnectionIsClosed) {
  Server::Options options;
  options.idle = std::chrono::milliseconds(500);
  Served served(options);
  const UniqueFd idle = connect_to(served.path());
  EXPECT_EQ(receive(idle.get()), "closed");
  const UniqueFd half = connect_to(served.path());
  send_all(half.get(), observe_frame().substr(0, 3));
  EXPECT_EQ(receive(half.get()), "closed");
}

TEST(Server, ConnectionsAreBounded) {
  Server::Options options;
  options.max_connections = 2;
  Served served(options);
  UniqueFd first = connect_to(served.path());
  const UniqueFd second = connect_to(served.path());
  send_all(first.get(), observe_frame());
  send_all(second.get(), observe_frame());
  EXPECT_NE(receive(first.get()), "closed");
  EXPECT_NE(receive(second.get()), "closed");
  const UniqueFd third = connect_to(served.path());
  EXPECT_EQ(receive(third.get()), "closed");
  EXPECT_EQ(served.refused(), 1U);
}

TEST(Server, OtherUsersAreNotServed) {
  if (::geteuid() == 0) GTEST_SKIP() << "root is always served; the end-to-end test has other users";
  Served served;
  const UniqueFd fd = connect_to(served.path());
  EXPECT_EQ(receive(fd.get()), "closed");
}

}  // namespace
}  // namespace hawser::broker
