// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/shared_mark.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <cstdint>
#include <cstring>

#include "base/file.h"
#include "temporary_folder.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kFlags = 16 + 2 * sizeof(pthread_mutex_t);
constexpr std::size_t kSize = kFlags + 8;

std::string memory(std::uint64_t size, std::uint64_t version, std::uint64_t flags) {
  std::string out(kSize, 'x');
  std::memcpy(out.data(), &size, 8);
  std::memcpy(out.data() + 8, &version, 8);
  std::memcpy(out.data() + kFlags, &flags, 8);
  return out;
}

TEST(SharedMark, OnlyTheOneBitIsCleared) {
  TemporaryFolder folder;
  const std::string path = folder.write("shm", memory(kSize, 11, 7));
  EXPECT_TRUE(clear_shared_mark(path));
  EXPECT_EQ(*file::read_bounded(path, 1024), memory(kSize, 11, 6));
  EXPECT_TRUE(clear_shared_mark(path));
  EXPECT_EQ(*file::read_bounded(path, 1024), memory(kSize, 11, 6));
}

TEST(SharedMark, AnotherLayoutIsNotTouched) {
  TemporaryFolder folder;
  for (const auto& content : {memory(kSize, 12, 7), memory(kSize + 8, 11, 7), memory(kSize, 11, 7) + "12345678",
                              memory(kSize, 11, 7).substr(0, 96), std::string()}) {
    const std::string path = folder.write("shm", content);
    const auto cleared = clear_shared_mark(path);
    ASSERT_FALSE(cleared);
    EXPECT_EQ(cleared.error().id(), "HWS-BR-043");
    EXPECT_EQ(*file::read_bounded(path, 1024), content);
  }
  EXPECT_FALSE(clear_shared_mark(folder / "none"));
}

}  // namespace
}  // namespace hawser::proxy
