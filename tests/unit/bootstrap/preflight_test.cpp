// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/preflight.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

namespace hawser::bootstrap {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

Expectations wanted() {
  Expectations out;
  out.agent_uid = 881;
  out.proxy_uid = 882;
  return out;
}

struct Listener {
  UniqueFd fd;
  std::uint16_t port = 0;
};

Listener listen_on_loopback() {
  Listener out;
  out.fd.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(out.fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::listen(out.fd.get(), 1), 0);
  ::getsockname(out.fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  out.port = ntohs(address.sin_port);
  return out;
}

TEST(Preflight, AFreePortIsFree) {
  std::uint16_t port = 0;
  port = listen_on_loopback().port;  // closed again
  EXPECT_TRUE(ports_free({port}));
}

TEST(Preflight, ATakenPortIsNamedWithItsOwnerAndACommandThatShowsIt) {
  const auto listener = listen_on_loopback();
  const auto taken = observe_taken({listener.port});
  ASSERT_EQ(taken.size(), 1U);
  ASSERT_TRUE(taken[0].by);
  EXPECT_EQ(taken[0].by->uid, ::getuid());
  EXPECT_EQ(taken[0].by->address, "127.0.0.1");

  const auto checked = ports_free({listener.port});
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().id(), "HWS-PF-001");
  EXPECT_THAT(checked.error().message(), HasSubstr("which listens on 127.0.0.1:" + std::to_string(listener.port)));
  EXPECT_THAT(checked.error().hint(), HasSubstr("ss -ltnp 'sport = :" + std::to_string(listener.port) + "'"));
}

TEST(Preflight, ReadsListeningSocketsFromTheKernelsTable) {
  const auto sockets = parse_proc_net_tcp(
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
      "   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 25271 1\n"
      "   1: 0100007F:3A99 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 25272 1\n"
      "   2: 00000000000000000000000001000000:3A9E 00000000000000000000000000000000:0000 0A 00000000:00000000 "
      "00:00000000 00000000 0 0 3 1\n"
      "   3: nonsense\n   4: XYZ:3A99 0:0 0A 0:0 0:0 0 0\n");
  ASSERT_EQ(sockets.size(), 2U);
  EXPECT_EQ(sockets[0].address, "127.0.0.1");
  EXPECT_EQ(sockets[0].port, 15001);
  EXPECT_EQ(sockets[0].uid, 1000U);
  EXPECT_EQ(sockets[1].address, "::1");
  EXPECT_EQ(sockets[1].port, 15006);
}

TEST(Preflight, AllTakenPortsAreFound) {
  Observations seen;
  seen.taken = {{15001, ListeningSocket{"::", 15001, 1337}, "istio-proxy"}, {15006, {}, {}}};
  const auto found = judge(seen, wanted());
  ASSERT_EQ(found.errors.size(), 2U);
  EXPECT_THAT(found.errors[0].message(), HasSubstr("user istio-proxy, which listens on [::]:15001"));
  EXPECT_THAT(found.errors[1].message(), HasSubstr("taken by another program"));
}

TEST(Preflight, TheProxyNeedsAUserOfItsOwn) {
  auto root = wanted();
  root.proxy_uid = 0;
  ASSERT_EQ(judge({}, root).errors.size(), 1U);
  EXPECT_EQ(judge({}, root).errors[0].id(), "HWS-PF-003");
  auto same = wanted();
  same.proxy_uid = same.agent_uid;
  EXPECT_EQ(judge({}, same).errors.size(), 1U);
  EXPECT_THAT(judge({}, wanted()).errors, IsEmpty());
}

TEST(Preflight, AnAddressThatNoInterfaceHasIsAWarning) {
  auto expected = wanted();
  expected.told_addresses = {"10.77.0.20", "203.0.113.7"};
  Observations seen;
  seen.own_addresses = {"127.0.0.1", "10.77.0.20"};
  const auto found = judge(seen, expected);
  EXPECT_THAT(found.errors, IsEmpty());
  ASSERT_EQ(found.warnings.size(), 1U);
  EXPECT_THAT(found.warnings[0].message(), HasSubstr("203.0.113.7"));
}

}  // namespace
}  // namespace hawser::bootstrap
