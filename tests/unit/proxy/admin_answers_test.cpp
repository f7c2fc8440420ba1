// SPDX-License-Identifier: Apache-2.0
#include "proxy/admin_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hawser::proxy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr auto kServerInfo =
    R"({"version": "9e55/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE", "uptime_current_epoch": "12.5s",
  "hot_restart_version": "disabled", "command_line_options": {"base_id": "0", "concurrency": 2, "restart_epoch": 0}})";

TEST(ServerInfo, GivesStateVersionAndConcurrency) {
  const auto info = parse_server_info(kServerInfo);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->state, ProxyState::kLive);
  EXPECT_EQ(info->version, "1.40.0");
  EXPECT_EQ(info->concurrency, 2U);
  EXPECT_EQ(info->uptime, std::chrono::seconds(12));
}

TEST(ServerInfo, KnowsEveryStateThatEnvoyHas) {
  for (const std::string state : {"PRE_INITIALIZING", "INITIALIZING", "LIVE", "DRAINING"}) {
    std::string body = kServerInfo;
    body.replace(body.find("LIVE"), 4, state);
    const auto info = parse_server_info(body);
    ASSERT_TRUE(info.has_value()) << state;
    EXPECT_EQ(proxy_state_name(info->state), state);
  }
}

TEST(ServerInfo, RefusesWhatIsMissingOrOfAnotherType) {
  for (const char* body : {"", "[]", "LIVE", "{}", R"({"version": "1", "state": "LIVE"})",
                           R"({"version": 1, "state": "LIVE", "command_line_options": {"concurrency": 2}})",
                           R"({"version": "1", "state": "ASLEEP", "command_line_options": {"concurrency": 2}})",
                           R"({"version": "1", "state": "LIVE", "command_line_options": {"concurrency": -2}})"}) {
    const auto info = parse_server_info(body);
    ASSERT_FALSE(info.has_value()) << body;
    EXPECT_EQ(info.error().id(), "HWS-PX-002");
  }
}

TEST(Listeners, GivesEachAddressAndLeavesPathsOut) {
  const auto listeners = parse_listeners(R"({"listener_statuses": [
    {"name": "virtualOutbound", "local_address": {"socket_address": {"address": "0.0.0.0", "port_value": 15001}},
     "additional_local_addresses": [{"socket_address": {"address": "::", "port_value": 15001}}]},
    {"name": "unix", "local_address": {"pipe": {"path": "/x"}}},
    {"name": "inner", "local_address": {"envoy_internal_address": {"server_listener_name": "inner"}}}]})");
  ASSERT_TRUE(listeners.has_value());
  ASSERT_EQ(listeners->size(), 2U);
  EXPECT_EQ((*listeners)[0].address, "0.0.0.0");
  EXPECT_EQ((*listeners)[1].address, "::");
  EXPECT_EQ((*listeners)[1].port, 15001);
}

TEST(Listeners, AreNoneWhereTheListIsLeftOut) {
  const auto listeners = parse_listeners("{}");
  ASSERT_TRUE(listeners.has_value());
  EXPECT_THAT(*listeners, IsEmpty());
}

TEST(Listeners, RefusesAnAnswerOfAnotherShape) {
  for (
      const char* body :
      {"l::127.0.0.1:1\n", "[]", R"({"listener_statuses": [{"name": "x"}]})",
       R"({"listener_statuses": [{"name": "x", "local_address": {"socket_address": {"address": "::", "port_value": 70000}}}]})"})
    EXPECT_FALSE(parse_listeners(body).has_value()) << body;
}

TEST(Connections, CountsEachListenerOnceAndOnlyUsers) {
  const auto stats = parse_stats(
      "http.admin.downstream_cx_active: 1\n"
      "listener.admin.downstream_cx_active: 1\n"
      "listener.admin.main_thread.downstream_cx_active: 1\n"
      "listener.0.0.0.0_15006.downstream_cx_active: 3\n"
      "listener.0.0.0.0_15006.worker_0.downstream_cx_active: 2\n"
      "listener.0.0.0.0_15006.worker_1.downstream_cx_active: 1\n"
      "listener.[__]_15001.downstream_cx_active: 4\n"
      "listener.0.0.0.0_15021.downstream_cx_active: 5\n"
      "listener.[__]_15090.downstream_cx_active: 6\n"
      "listener.envoy_internal_x.downstream_cx_active: 7\n"
      "listener.hawser_worker.downstream_cx_active: 8\n"
      "cluster.x.upstream_rq_time: P0(nan,1) P25(nan,2)\n");
  EXPECT_EQ(sum_connections(connections_by_listener(stats, {15021, 15090})), 7U);
}

TEST(Connections, AreToldByListenerAndByWhoCalls) {
  const auto stats = parse_stats(
      "listener.0.0.0.0_15006.downstream_cx_active: 3\n"
      "listener.0.0.0.0_15006.worker_0.downstream_cx_active: 3\n"
      "listener.[__]_15008.downstream_cx_active: 2\n"
      "listener.0.0.0.0_15001.downstream_cx_active: 4\n"
      "listener.0.0.0.0_15021.downstream_cx_active: 9\n");
  std::map<std::string, std::pair<std::uint64_t, bool>> seen;
  for (const auto& item : connections_by_listener(stats, {15021}))
    seen[item.listener] = {item.connections, item.inbound};
  EXPECT_THAT(seen, ElementsAre(Pair("0.0.0.0_15001", Pair(4U, false)), Pair("0.0.0.0_15006", Pair(3U, true)),
                                Pair("[__]_15008", Pair(2U, true))));
}

TEST(InitDump, NamesTheTargets) {
  EXPECT_THAT(
      parse_init_dump(R"({"unready_targets_dumps": [{"name": "listener x", "target_names": ["SdsApi default"]}]})"),
      ElementsAre("SdsApi default"));
  EXPECT_THAT(parse_init_dump("{}"), IsEmpty());
  EXPECT_THAT(parse_init_dump("no json"), IsEmpty());
}

TEST(ListenerErrors, GivesTheReasonOfEachRefusedListener) {
  EXPECT_THAT(parse_listener_errors(R"({"configs": [
    {"name": "good", "active_state": {}},
    {"name": "bad", "error_state": {"details": "cannot bind '0.0.0.0:15001': Address already in use"}}]})"),
              ElementsAre(Pair("bad", "cannot bind '0.0.0.0:15001': Address already in use")));
}

TEST(Certs, GivesTheLeafOfEachChain) {
  const auto certs = parse_certs(R"({"certificates": [
    {"ca_cert": [{"serial_number": "01"}],
     "cert_chain": [{"serial_number": "0AFF", "subject_alt_names": [{"uri": "spiffe://cluster.local/ns/a/sa/b"}],
                     "expiration_time": "2026-11-25T00:00:00Z"}, {"serial_number": "02"}]},
    {"ca_cert": [], "cert_chain": []}]})");
  ASSERT_TRUE(certs.has_value());
  ASSERT_EQ(certs->size(), 1U);
  EXPECT_EQ(certs->front().serial, "0aff");
  EXPECT_EQ(certs->front().uri, "spiffe://cluster.local/ns/a/sa/b");
  EXPECT_EQ(certs->front().expires, "2026-11-25T00:00:00Z");
}

TEST(Certs, OneWhoseTimeIsOverIsNamed) {
  const std::vector<CertificateInUse> certificates{{"01", "", "2026-11-25T00:00:00Z"}, {"02", "", ""}};
  const Loop::Wall before(std::chrono::seconds(1795564799));  // 2026-11-24T23:59:59Z
  EXPECT_EQ(expired_among(certificates, before), "");
  EXPECT_EQ(expired_among(certificates, before + std::chrono::seconds(2)), "01");
}

std::string unshared(const std::string& listener) {
  const auto fixed = parse_unshared(R"({"configs": [{"listener": )" + listener + "}]}");
  const auto dynamic =
      parse_unshared(R"({"configs": [{"name": "x", "active_state": {"listener": )" + listener + "}}]}");
  EXPECT_EQ(fixed.value(), dynamic.value());
  return *fixed;
}

TEST(Unshared, ATcpListenerCanBeSharedUnlessItSaysOtherwise) {
  const std::string address = R"("address": {"socket_address": {"address": "0.0.0.0", "port_value": 1}})";
  EXPECT_EQ(unshared(R"({"name": "a", )" + address + "}"), "");
  EXPECT_EQ(unshared(R"({"name": "a", "enable_reuse_port": true, )" + address + "}"), "");
  EXPECT_THAT(unshared(R"({"name": "a", "enable_reuse_port": false, )" + address + "}"), HasSubstr("a has enable"));
  // istiod's own listeners bind nothing, behind the two that traffic is led to
  EXPECT_EQ(unshared(R"({"name": "a", "bind_to_port": false, "enable_reuse_port": false, )" + address + "}"), "");
}

TEST(Unshared, PathsAndUdpCant) {
  EXPECT_THAT(unshared(R"({"name": "a", "address": {"pipe": {"path": "/x"}}})"), HasSubstr("path"));
  EXPECT_EQ(unshared(R"({"name": "hawser_worker", "address": {"pipe": {"path": "/x"}}})"), "") << "each has its own";
  EXPECT_THAT(unshared(R"({"name": "a", "address": {"socket_address": {"protocol": "UDP"}}})"), HasSubstr("UDP"));
  EXPECT_THAT(unshared(R"({"name": "a", "udp_listener_config": {}, "address": {"socket_address": {}}})"),
              HasSubstr("UDP"));
  EXPECT_EQ(unshared(R"({"name": "a", "internal_listener": {}})"), "");
}

TEST(Unshared, ListenersOfNobodyAreNoObstacleButNoAnswerIs) {
  EXPECT_EQ(parse_unshared("{}").value(), "");
  EXPECT_FALSE(parse_unshared("[]").has_value());
  EXPECT_FALSE(parse_unshared("nonsense").has_value());
}

}  // namespace
}  // namespace hawser::proxy
