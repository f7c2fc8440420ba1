// SPDX-License-Identifier: Apache-2.0
#include "xds/trimmer.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/fake_loop.h"

namespace hawser::xds {
namespace {

std::size_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::size_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// What a push leaves: much that is free below a little that is in use, so that the heap can't shrink from its end.
std::string leave_free_memory(std::size_t bytes) {
  constexpr std::size_t kPiece = 1100;
  std::vector<std::string> pieces;
  for (std::size_t i = 0; i < bytes / kPiece; ++i) pieces.emplace_back(kPiece, 'x');
  return std::string(kPiece, 'y');
}

class TrimmerTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(_GLIBCXX_TSAN) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "the sanitizer has an allocator of its own";
#endif
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
  }
  FakeLoop loop;
  Trimmer trimmer{loop};
  static constexpr std::size_t kMuch = std::size_t{24} << 20;
};

TEST_F(TrimmerTest, GivesMemoryBackWhenThePushesAreOver) {
  const auto pin = leave_free_memory(kMuch);
  const auto before = resident_bytes();
  trimmer.moved(kMuch);
  loop.advance(Trimmer::kQuiet / 2);
  trimmer.moved(1);  // still pushing: what is freed is needed again at once
  loop.advance(Trimmer::kQuiet / 2 + std::chrono::milliseconds(1));
  EXPECT_GT(resident_bytes() + (kMuch / 4), before);
  loop.advance(Trimmer::kQuiet);
  EXPECT_LT(resident_bytes() + (kMuch / 2), before);
  EXPECT_EQ(pin.front(), 'y');
}

TEST_F(TrimmerTest, SmallMessagesAreNotWorthIt) {
  const auto pin = leave_free_memory(kMuch);
  const auto before = resident_bytes();
  trimmer.moved(Trimmer::kWorth / 2);
  loop.advance(4 * Trimmer::kQuiet);
  EXPECT_GT(resident_bytes() + (kMuch / 4), before);
  EXPECT_EQ(pin.front(), 'y');
}

}  // namespace
}  // namespace hawser::xds
