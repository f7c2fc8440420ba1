// SPDX-License-Identifier: Apache-2.0
#include "proxy/connections.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/proxy_words.h"

namespace hawser::proxy {
namespace {

TEST(Connections, AreCountedOnceAndByName) {
  const auto seen = parse_connections(
      "listener.0.0.0.0_15006.downstream_cx_active: 3\n"
      "listener.0.0.0.0_15006.worker_0.downstream_cx_active: 3\n"
      "listener.0.0.0.0_15001.downstream_cx_active: 0\n"
      "listener.admin.downstream_cx_active: 1\n"
      "listener.hawser_worker.downstream_cx_active: 1\n"
      "http.hawser_worker.downstream_rq_active: 1\n"
      "http.admin.downstream_rq_active: 1\n"
      "http.inbound_0.0.0.0_80.downstream_cx_active: 2\n"
      "http.inbound_0.0.0.0_80.downstream_rq_active: 5\n"
      "http.inbound_0.0.0.0_80.downstream_cx_upgrades_active: 1\n"
      "cluster.outbound|80||a.b.upstream_cx_active: 4\n"
      "cluster.outbound|80||a.b.upstream_rq_active: 6\n"
      "rubbish\n");
  ASSERT_EQ(seen.listeners.size(), 1U);
  EXPECT_EQ(seen.listeners[0].address, "0.0.0.0_15006");
  EXPECT_EQ(seen.listeners[0].connections, 3U);
  ASSERT_EQ(seen.managers.size(), 1U);
  EXPECT_EQ(seen.managers[0].prefix, "inbound_0.0.0.0_80");
  EXPECT_EQ(seen.managers[0].connections, 2U);
  EXPECT_EQ(seen.managers[0].requests, 5U);
  EXPECT_EQ(seen.managers[0].upgraded, 1U);
  ASSERT_EQ(seen.clusters.size(), 1U);
  EXPECT_EQ(seen.clusters[0].name, "outbound|80||a.b");
  EXPECT_EQ(seen.clusters[0].connections, 4U);
  EXPECT_EQ(seen.clusters[0].requests, 6U);
}

TEST(ProxyWords, AreTheMessages) {
  EXPECT_EQ(proxy_words("{\"level\":\"critical\",\"message\":\"no \\\"such\\\" file\"}\nplain\n{\"a\":1}"),
            "no \"such\" file\nplain\n{\"a\":1}");
  EXPECT_EQ(proxy_words(""), "");
  EXPECT_EQ(proxy_words("{\xff"), "{\xff");
}

}  // namespace
}  // namespace hawser::proxy
