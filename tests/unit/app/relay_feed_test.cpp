// SPDX-License-Identifier: Apache-2.0
#include "relay_feed.h"

#include <gtest/gtest.h>

#include "xds/types.h"

namespace hawser {
namespace {

TEST(RelayFeed, SaysInWordsWhatIsMissing) {
  EXPECT_EQ(missing_text({}), "");
  const xds::Outlook some{{{std::string(xds::kClusterType), {}}, {std::string(xds::kRouteType), {"80", "8080"}}}, {}};
  EXPECT_EQ(missing_text(some), "clusters (CDS), routes (RDS) of 80, 8080");
  const xds::Outlook many{{{std::string(xds::kEndpointType), {"a", "b", "c", "d", "e"}}}, {}};
  EXPECT_EQ(missing_text(many), "endpoints (EDS) of a, b, c and 2 more");
}

TEST(RelayFeed, SaysInWordsWhatWasRefused) {
  const xds::Outlook refused{{}, {std::string(xds::kListenerType), "type.googleapis.com/x.y.Secret"}};
  EXPECT_EQ(rejected_text(refused), "listeners (LDS), Secret");
}

}  // namespace
}  // namespace hawser
