// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/memory_limit.h"

#include <gtest/gtest.h>

namespace hawser::broker {
namespace {

constexpr std::uint64_t kGib = 1ULL << 30U;

TEST(MemoryMax, AShareOfTheHostButNeverALittle) {
  EXPECT_EQ(parse_memory_max(kDefaultMemoryMax, 100 * kGib), 75 * kGib);
  EXPECT_EQ(parse_memory_max("50%", 8 * kGib), 8 * kGib / 100 * 50);
  EXPECT_EQ(parse_memory_max("10%", 4 * kGib), kGib) << "Envoy with a large mesh must have room";
  EXPECT_EQ(parse_memory_max(kDefaultMemoryMax, kGib), 0U) << "then there is no limit but the host";
  EXPECT_EQ(parse_memory_max("100%", 8 * kGib), 8 * kGib / 100 * 100);
}

TEST(MemoryMax, BytesWithAUnit) {
  EXPECT_EQ(parse_memory_max("2G", kGib), 2 * kGib);
  EXPECT_EQ(parse_memory_max("300M", kGib), 300U << 20U);
  EXPECT_EQ(parse_memory_max("134217728", kGib), 134'217'728U);
}

TEST(MemoryMax, NoneWhenAskedFor) {
  EXPECT_EQ(parse_memory_max("0", kGib), 0U);
  EXPECT_EQ(parse_memory_max("0%", kGib), 0U);
}

TEST(MemoryMax, WhatMeansNothingIsRefused) {
  for (const char* text : {"", "much", "-1", "2GB", "2 G", "101%", "1.5G", "%", "G", "18446744073709551616",
                           "17179869184G", "2g", "300", "0K"})
    EXPECT_FALSE(parse_memory_max(text, kGib)) << text;
}

}  // namespace
}  // namespace hawser::broker
