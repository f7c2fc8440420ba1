// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "dial/basic_auth.h"
#include "dial/no_proxy.h"
#include "dial/proxy_error.h"

namespace hawser::dial {
namespace {

TEST(NoProxy, NamesSuffixesAddressesAndNetworks) {
  const std::vector<std::string> entries = {"istiod.mesh", ".Corp.example", "10.1.0.0/16", "fd00::/8", "192.0.2.7"};
  for (const char* host : {"istiod.mesh", "ISTIOD.mesh", "a.b.corp.example", "10.1.2.3", "fd12::1", "192.0.2.7"})
    EXPECT_TRUE(bypasses_proxy(host, entries)) << host;
  for (const char* host :
       {"istiod.mesh.example", "corp.example", "notcorp.example", "10.2.0.1", "2001:db8::1", "192.0.2.8"})
    EXPECT_FALSE(bypasses_proxy(host, entries)) << host;
  EXPECT_FALSE(bypasses_proxy("10.1.2.3", {}));
}

TEST(BasicAuth, IsRfc7617) {
  EXPECT_EQ(basic_auth("Aladdin:open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

TEST(ProxyError, SaysWhatToDo) {
  Route route;
  route.address = "10.0.0.9:3128";
  EXPECT_FALSE(proxy_error("HTTP proxy returned response code 407", route)) << "there is no proxy";
  route.connect_to = "istiod.example:15012";
  const auto wants = proxy_error("... HTTP proxy returned response code 407; x", route);
  ASSERT_TRUE(wants);
  EXPECT_EQ(wants->id(), "HWS-DL-005");
  EXPECT_NE(wants->message().find("wants a user"), std::string::npos);
  route.proxy_password = "u:secret";
  EXPECT_NE(make_proxy_error(407, route).message().find("doesn't accept"), std::string::npos);
  const auto refused = proxy_error("HTTP proxy returned response code 403", route);
  EXPECT_EQ(refused->id(), "HWS-DL-006");
  EXPECT_NE(refused->message().find("istiod.example:15012"), std::string::npos);
  EXPECT_EQ(make_proxy_error(502, route).id(), "HWS-DL-006");
  EXPECT_EQ(make_proxy_error(0, route).id(), "HWS-DL-008");
  EXPECT_EQ(proxy_error("connect: Connection refused (111)", route)->id(), "HWS-DL-004");
  EXPECT_EQ(make_proxy_error(407, route).to_string().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace hawser::dial
