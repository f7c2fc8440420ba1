// SPDX-License-Identifier: Apache-2.0
// What the relay says when the control plane can't be used, and that it keeps trying.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "ads_client.h"
#include "ads_server.h"
#include "messages.h"
#include "relay_host.h"
#include "xds/relay.h"

namespace hawser::xds::test {
namespace {

using namespace std::chrono_literals;

class RelayFailureTest : public testing::Test {
 protected:
  UpstreamOptions upstream(int port) const { return upstream_to(port, certificates.root_pem); }
  UpstreamOptions upstream() const { return upstream(plane.port()); }
  // The plane becomes usable: the relay must find out by itself.
  void expect_recovery() {
    plane.refuse(0, "");
    ASSERT_TRUE(plane.expect(kListenerType));
    plane.push(plane_response(kClusterType, "n1", {}));
    EXPECT_EQ(host.wait_health("control-plane", "ok"), "ok");
  }

  TestCertificates certificates = make_certificates(kPlaneName);
  AdsServer plane{certificates};
  RelayHost host;
};

TEST_F(RelayFailureTest, NobodyListens) {
  plane.stop();
  host.start(upstream());
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-001"), "HWS-XDS-001");
  EXPECT_NE(host.status().last_error.find("127.0.0.1"), std::string::npos);
  plane.start();
  expect_recovery();
}

TEST_F(RelayFailureTest, TheRootIsAnother) {
  auto options = upstream();
  options.roots_pem = make_certificates(kPlaneName).root_pem;
  host.start(options);
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-002"), "HWS-XDS-002");
  EXPECT_EQ(plane.streams(), 0);
}

TEST_F(RelayFailureTest, TheNameIsAnother) {
  auto options = upstream();
  options.server_name = "istiod.elsewhere.svc";
  host.start(options);
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-003"), "HWS-XDS-003");
  EXPECT_EQ(plane.streams(), 0);
}

TEST_F(RelayFailureTest, ThePlaneRefuses) {
  plane.refuse(16, "authentication failure");
  host.start(upstream());
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-004"), "HWS-XDS-004");
  plane.refuse(9, "WorkloadGroup default/vm not found");
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-006"), "HWS-XDS-006");
  plane.refuse(8, "request rate limit exceeded");
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-007"), "HWS-XDS-007");
  plane.refuse(7, "identity doesn't match");
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-005"), "HWS-XDS-005");
  expect_recovery();
}

TEST_F(RelayFailureTest, ThereIsNothingToProveWhoWeAre) {
  host.start(upstream(), {}, Error(Code::kNotFound, "HWS-CE-001", "no token file"));
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-008"), "HWS-XDS-008");
  EXPECT_EQ(plane.streams(), 0);
}

TEST_F(RelayFailureTest, AnEmptyTokenIsNone) {
  host.start(upstream(), {}, std::string());
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-008"), "HWS-XDS-008");
  EXPECT_EQ(plane.streams(), 0);
}

TEST_F(RelayFailureTest, AClientCertificateIsShownWithoutAToken) {
  host.start(upstream(), {certificates.key_pem, certificates.chain_pem},
             Error(Code::kNotFound, "HWS-CE-001", "no token file"));
  expect_recovery();
  EXPECT_FALSE(plane.metadata().contains("authorization"));
}

TEST_F(RelayFailureTest, ThePlaneAnswersNothing) {
  auto options = upstream();
  options.first_response_timeout = 100ms;
  host.start(options);
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-009"), "HWS-XDS-009");
  EXPECT_TRUE(plane.wait_streams(3));
}

TEST_F(RelayFailureTest, ThePlaneTalksNonsense) {
  host.start(upstream());
  ASSERT_TRUE(plane.expect(kListenerType));
  plane.push("\xff\xff\xff");
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-011"), "HWS-XDS-011");
  ASSERT_TRUE(plane.wait_streams(2));
  expect_recovery();
}

TEST_F(RelayFailureTest, AProxyThatTalksNonsenseLosesItsStreamOnly) {
  host.start(upstream());
  expect_recovery();
  AdsClient envoy(host.target(), "");
  Request wrong = subscribe("type.googleapis.com/istio.networking.nds.v1.NameTable");
  envoy.send(wrong);
  envoy.send(subscribe(kClusterType));
  ASSERT_TRUE(envoy.receive()) << "a type that isn't its business is ignored";
  EXPECT_TRUE(host.status().connected);
}

TEST_F(RelayFailureTest, DestroyingARunningRelayNeedsNoStop) {
  host.start(upstream());
  ASSERT_TRUE(plane.expect(kListenerType));
}

// Passes bytes between two TCP sockets until it's frozen: then both ends still look alive, and nothing arrives.
class Link {
 public:
  explicit Link(int target_port) : target_port_(target_port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    (void)bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    (void)listen(listener_, 16);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Link() {
    stop_ = true;
    thread_.join();
    for (const int fd : fds_) close(fd);
    close(listener_);
  }
  int port() const { return port_; }
  // What is connected now stays silent for ever; new connections work.
  void freeze() { freeze_ = true; }

 private:
  static sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  void accept_one() {
    const int near = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(target_port_);
    (void)connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    fds_.push_back(near);
    fds_.push_back(far);
  }
  void run() {
    std::vector<char> buffer(65536);
    while (!stop_) {
      if (freeze_.exchange(false)) frozen_ = fds_.size();
      std::vector<pollfd> polls{{listener_, POLLIN, 0}};
      for (std::size_t i = frozen_; i < fds_.size(); ++i) polls.push_back({fds_[i], POLLIN, 0});
      (void)poll(polls.data(), polls.size(), 10);
      if ((polls[0].revents & POLLIN) != 0) accept_one();
      for (std::size_t i = 1; i < polls.size(); ++i) {
        if (polls[i].revents == 0) continue;
        const std::size_t index = frozen_ + i - 1;
        const ssize_t got = recv(fds_[index], buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (got > 0) (void)send(fds_[index ^ 1], buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL);
        if (got == 0) shutdown(fds_[index ^ 1], SHUT_WR);
      }
    }
  }

  int target_port_;
  int listener_ = -1;
  int port_ = 0;
  std::vector<int> fds_;  // pairs: near, far
  std::size_t frozen_ = 0;
  std::atomic<bool> freeze_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_F(RelayFailureTest, AHalfOpenConnectionIsNoticedAndReplaced) {
  Link link(plane.port());
  auto options = upstream(link.port());
  options.keepalive_time = 300ms;
  options.keepalive_timeout = 300ms;
  host.start(options);
  expect_recovery();
  link.freeze();
  ASSERT_TRUE(plane.wait_streams(2)) << "nothing told the relay, so only its pings can have";
  expect_recovery();
}

}  // namespace
}  // namespace hawser::xds::test
