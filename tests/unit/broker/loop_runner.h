// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "base/asio_loop.h"

namespace hawser {

// Runs the loop until `work` has called what it was given, or fails the test after 10 seconds.
inline void run_until_called(AsioLoop& loop, const std::function<void(std::function<void()>)>& work) {
  bool called = false;
  const auto limit = loop.after(std::chrono::seconds(10), [&loop] { loop.stop(); });
  loop.post([&] {
    work([&] {
      called = true;
      loop.stop();
    });
  });
  loop.run();
  loop.context().restart();
  EXPECT_TRUE(called) << "not within 10 s";
}

}  // namespace hawser
