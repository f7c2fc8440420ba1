// SPDX-License-Identifier: Apache-2.0
#include "xds/open_pace.h"

#include <gtest/gtest.h>

namespace hawser::xds::test {
namespace {

using namespace std::chrono_literals;

OpenPace pace() {
  return OpenPace(Backoff(200ms, 15s, 7));
}
constexpr Loop::Monotonic kStart{100s};

TEST(OpenPaceTest, ABurstAtOnceThenOneASecond) {
  auto opens = pace();
  for (int i = 0; i < OpenPace::kBurst; ++i) EXPECT_EQ(opens.book(kStart), kStart);
  EXPECT_EQ(opens.book(kStart), kStart + 1s);
  EXPECT_EQ(opens.book(kStart), kStart + 2s);
  EXPECT_EQ(opens.book(kStart + 500ms), kStart + 3s);
  EXPECT_EQ(opens.book(kStart + 60s), kStart + 60s) << "the burst is there again after a while";
}

TEST(OpenPaceTest, AfterFailuresOfThePlaneEverybodyWaitsUpToTheCapAndNotAfterASuccess) {
  auto opens = pace();
  Loop::Monotonic latest = kStart;
  for (int i = 0; i < 30; ++i) {
    opens.on_plane_failed(kStart);
    latest = std::max(latest, opens.book(kStart + i * 60s));
    EXPECT_LE(opens.book(kStart), kStart + 60s * 30);
  }
  opens.on_plane_failed(kStart + 2h);
  const auto next = opens.book(kStart + 2h);
  EXPECT_GT(next, kStart + 2h);
  EXPECT_LE(next, kStart + 2h + 15s);
  opens.on_plane_served();
  EXPECT_EQ(opens.book(kStart + 2h), kStart + 2h);
}

}  // namespace
}  // namespace hawser::xds::test
