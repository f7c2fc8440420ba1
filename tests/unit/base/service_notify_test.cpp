// SPDX-License-Identifier: Apache-2.0
#include "base/service_notify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/asio_loop.h"
#include "base/fake_loop.h"
#include "base/fd.h"

namespace hawser {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// Stands in for systemd's end of NOTIFY_SOCKET.
class ServiceNotifyTest : public testing::Test {
 protected:
  void SetUp() override {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // Abstract: needs no file.
    const std::string name = "hawser-notify-test-" + std::to_string(::getpid());
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
  }

  void TearDown() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  }

  static void watchdog_of(const std::string& usec, pid_t pid) {
    ::setenv("WATCHDOG_USEC", usec.c_str(), 1);
    ::setenv("WATCHDOG_PID", std::to_string(pid).c_str(), 1);
  }

  std::vector<std::string> told() {
    std::vector<std::string> out;
    char buffer[512];
    for (ssize_t n; (n = ::recv(socket_.get(), buffer, sizeof buffer, 0)) > 0;)
      out.emplace_back(buffer, static_cast<std::size_t>(n));
    return out;
  }

  UniqueFd socket_;
};

TEST_F(ServiceNotifyTest, TellsSystemd) {
  notify_ready();
  notify_status("reached REGISTERED");
  notify_stopping();
  notify_extend(11s);
  EXPECT_THAT(told(),
              ElementsAre("READY=1", "STATUS=reached REGISTERED", "STOPPING=1", "EXTEND_TIMEOUT_USEC=11000000"));
}

TEST_F(ServiceNotifyTest, AStatusIsNoWayToSaySomethingElse) {
  notify_status("bad\nREADY=1");
  EXPECT_THAT(told(), ElementsAre("STATUS=bad READY=1"));
}

TEST_F(ServiceNotifyTest, TheWatchdogIsPettedTwiceWithinItsTime) {
  watchdog_of("10000000", ::getpid());
  FakeLoop loop;
  Watchdog watchdog(loop);
  EXPECT_TRUE(watchdog.enabled());
  EXPECT_THAT(told(), ElementsAre("WATCHDOG=1"));
  loop.advance(4999ms);
  EXPECT_THAT(told(), IsEmpty());
  loop.advance(15001ms);
  EXPECT_THAT(told(), SizeIs(4));
}

TEST_F(ServiceNotifyTest, WithoutAWatchdogNothingRuns) {
  FakeLoop loop;
  const Watchdog none(loop);
  EXPECT_FALSE(none.enabled());
  watchdog_of("10000000", ::getpid() + 1);
  const Watchdog others(loop);
  EXPECT_FALSE(others.enabled());
  EXPECT_EQ(loop.pending_timers(), 0U);
  EXPECT_THAT(told(), IsEmpty());
}

// What the watchdog is for: a loop that hangs pets no more, however alive the other threads are.
TEST_F(ServiceNotifyTest, ABlockedLoopDoesNotPet) {
  watchdog_of("40000", ::getpid());  // 40 ms: petted each 20 ms
  AsioLoop loop;
  std::vector<std::string> before;
  std::vector<std::string> during;
  Watchdog watchdog(loop);
  const auto later = loop.after(200ms, [&] {
    before = told();
    std::this_thread::sleep_for(300ms);  // as a call that blocks does
    during = told();
    loop.stop();
  });
  loop.run();
  EXPECT_GE(before.size(), 3U);
  EXPECT_THAT(during, IsEmpty());
}

}  // namespace
}  // namespace hawser
