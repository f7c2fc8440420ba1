// SPDX-License-Identifier: Apache-2.0
#include "xds/upstream_error.h"

#include <gtest/gtest.h>

namespace hawser::xds {
namespace {

TEST(UpstreamError, NamesTheCauseAndKeepsThePlanesWords) {
  UpstreamOptions options;
  options.dial_target = "ipv4:10.0.0.1:15012";
  options.server_name = "istiod.istio-system.svc";
  const auto id = [&](Code code, const std::string& message) {
    return make_upstream_error(static_cast<int>(code), message, options).id();
  };
  EXPECT_EQ(id(Code::kUnavailable, "failed to connect to all addresses; last error: Connection refused"),
            "HWS-XDS-001");
  EXPECT_EQ(id(Code::kUnavailable, "Ssl handshake failed: SSL_ERROR_SSL: certificate verify failed"), "HWS-XDS-002");
  EXPECT_EQ(id(Code::kUnavailable, "Peer name istiod is not in peer certificate"), "HWS-XDS-003");
  EXPECT_EQ(id(Code::kUnauthenticated, "authentication failure"), "HWS-XDS-004");
  EXPECT_EQ(id(Code::kPermissionDenied, "not allowed"), "HWS-XDS-005");
  EXPECT_EQ(id(Code::kFailedPrecondition, "WorkloadGroup default/vm not found"), "HWS-XDS-006");
  EXPECT_EQ(id(Code::kResourceExhausted, "request rate limit exceeded"), "HWS-XDS-007");
  EXPECT_EQ(id(Code::kInternal, "?"), "HWS-XDS-010");
  const auto error =
      make_upstream_error(static_cast<int>(Code::kFailedPrecondition), "WorkloadGroup default/vm not found", options);
  EXPECT_NE(error.to_string().find("WorkloadGroup default/vm not found"), std::string::npos);
  EXPECT_FALSE(error.hint().empty());
}

}  // namespace
}  // namespace hawser::xds
