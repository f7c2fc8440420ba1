// SPDX-License-Identifier: Apache-2.0
#include "status_line.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/fake_loop.h"

namespace hawser {
namespace {

TEST(StatusLine, TellsWhatIsTrueWhenTheChangesAreOverAndOnlyNews) {
  FakeLoop loop;
  std::string text = "a";
  std::vector<std::string> told;
  StatusLine line(
      loop, [&] { return text; }, [&](const std::string& now) { told.push_back(now); });
  line.changed();
  text = "b";
  line.changed();
  loop.run_ready();
  EXPECT_EQ(told, (std::vector<std::string>{"b"}));
  line.changed();
  loop.run_ready();
  EXPECT_EQ(told.size(), 1U);
  text = "c";
  line.changed();
  loop.run_ready();
  EXPECT_EQ(told, (std::vector<std::string>{"b", "c"}));
}

TEST(StatusLine, AChangeUnderWayIsForgottenWithIt) {
  FakeLoop loop;
  int told = 0;
  {
    StatusLine line(
        loop, [] { return std::string("a"); }, [&](const std::string&) { ++told; });
    line.changed();
  }
  loop.run_ready();
  EXPECT_EQ(told, 0);
}

}  // namespace
}  // namespace hawser
