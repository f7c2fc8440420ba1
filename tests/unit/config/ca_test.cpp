// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "only_error.h"

namespace hawser::config {
namespace {

constexpr char kJoinedHead[] = "control_plane: {address: 'istiod.mesh:15012'}\nworkload: {name: vm}\n";

bool told(const std::string& text, const std::string& words) {
  return only_error(text).find(words) != std::string::npos;
}

TEST(CaConfig, ReadsHeadersInLowerCase) {
  const auto loaded = parse("ca: {headers: {X-Tenant: blue, x-Zone: b}}", "h.yaml");
  ASSERT_TRUE(loaded.errors.empty()) << loaded.errors[0].to_string();
  EXPECT_EQ(loaded.config.ca.headers, (std::map<std::string, std::string>{{"x-tenant", "blue"}, {"x-zone", "b"}}));
}

// Each would be Hawser's own, the transport's, or the end of the program in gRPC.
TEST(CaConfig, RefusesHeadersThatMustntOrCantBeSent) {
  for (const char* name : {"Authorization", "clusterid", "ClusterID", "x-goog-request-params", "host", "te",
                           "content-type", "grpc-timeout", "user-agent"})
    EXPECT_TRUE(
        told("ca: {headers: {" + std::string(name) + ": x}}", "is Hawser's own (fix: leave it out) [HWS-CF-004]"))
        << name << ": " << only_error("ca: {headers: {" + std::string(name) + ": x}}");
  for (const char* name : {":path", "x y", "", "x/y", "\xc3\xa4"})
    EXPECT_TRUE(told("ca: {headers: {\"" + std::string(name) + "\": x}}", "no header's name")) << name;
  EXPECT_TRUE(told("ca: {headers: {x-data-bin: x}}", "binary header"));
  EXPECT_TRUE(told("ca: {headers: {x-a: \"a\\nb\"}}", "the value of 'x-a' can't be sent"));
  EXPECT_TRUE(told("ca: {headers: {x-a: \"\xc3\xa4\"}}", "the value of 'x-a' can't be sent"));
  EXPECT_TRUE(told("ca: {headers: {x-a: " + std::string(5000, 'a') + "}}", "can't be sent"));
  std::string many = "ca: {headers: {";
  for (int i = 0; i < 17; ++i) many += "x-" + std::to_string(i) + ": y, ";
  EXPECT_TRUE(told(many + "}}", "too many"));
}

TEST(CaConfig, PlacesAHeadersError) {
  EXPECT_TRUE(told("ca:\n  headers:\n    host: x\n", "h.yaml:")) << only_error("ca:\n  headers:\n    host: x\n");
}

TEST(CaConfig, TakesARootAsPemOrTheMachinesOwn) {
  EXPECT_EQ(parse("ca: {root: system}", "h.yaml").config.ca.root_pem, "system");
  EXPECT_TRUE(told("ca: {root: /etc/ssl/ca.pem}", "holds no PEM certificate"));
}

TEST(CaConfig, SaysWhatATypeNeeds) {
  EXPECT_TRUE(told(std::string(kJoinedHead) + "ca: {type: exec}", "ca.command is missing"));
  EXPECT_TRUE(told(std::string(kJoinedHead) + "ca: {type: mesh-ca, address: 'meshca.googleapis.com:443'}",
                   "ca.location is missing"));
  EXPECT_TRUE(told(std::string(kJoinedHead) + "ca: {type: mesh-ca, location: europe-west1}", "ca.address is missing"));
  EXPECT_TRUE(told("ca: {location: 'a/b'}", "no zone or region"));
  EXPECT_TRUE(told("ca: {type: vault}", "is not one of istio, citadel, mesh-ca"));
  EXPECT_TRUE(told("ca: {command: sign}", "is not an absolute path"));
}

TEST(CaConfig, BoundsTheTimeOut) {
  EXPECT_TRUE(told("ca: {timeout: 50ms}", "100ms to 5m"));
  EXPECT_TRUE(told("ca: {timeout: 10m}", "100ms to 5m"));
  EXPECT_EQ(parse("ca: {timeout: 5s}", "h.yaml").config.ca.timeout, Millis(5000));
  EXPECT_TRUE(parse("ca: {type: istio}", "h.yaml").errors.empty());
}

}  // namespace
}  // namespace hawser::config
