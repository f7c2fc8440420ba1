// SPDX-License-Identifier: Apache-2.0
#include "binaries/inspect.h"

#include <gtest/gtest.h>

namespace hawser::binaries {
namespace {

TEST(Extensions, AreReadFromWhatEnvoySaysAtItsStart) {
  const auto seen = parse_extensions(
      "initializing epoch 0 (base id=0, hot restart version=disabled)\n"
      "statically linked extensions:\n"
      "  envoy.filters.http: envoy.buffer, envoy.filters.http.lua\n"
      "  envoy.thrift_proxy.protocols: auto, binary/non-strict\n"
      "  envoy.empty: \n"
      "HTTP header map info:\n"
      "  request header map: 704 bytes: :authority\n");
  EXPECT_EQ(seen, (Extensions{{"envoy.filters.http", {"envoy.buffer", "envoy.filters.http.lua"}},
                              {"envoy.thrift_proxy.protocols", {"auto", "binary/non-strict"}},
                              {"envoy.empty", {}}}));
}

TEST(Extensions, OfAProgramThatTellsNoneAreNone) {
  EXPECT_TRUE(parse_extensions("").empty());
  EXPECT_TRUE(parse_extensions("  envoy.filters.http: envoy.buffer\n").empty()) << "not under their heading";
  EXPECT_TRUE(parse_extensions("statically linked extensions:\n  nonsense\n").empty());
}

}  // namespace
}  // namespace hawser::binaries
