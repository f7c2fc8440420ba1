// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/proxy_args.h"

#include <gtest/gtest.h>

namespace hawser::broker {
namespace {

TEST(GenerationName, FamilyAndEpochAreRead) {
  auto name = parse_generation("f12e345");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->family, 12U);
  EXPECT_EQ(name->epoch, 345U);
  EXPECT_EQ(name->base_id(), 4112U);
  EXPECT_EQ(shared_memory_name(*name), "envoy_shared_memory_41120");
}

TEST(GenerationName, AnythingElseIsRefused) {
  for (const char* bad : {"", "f", "e", "f1", "f1e", "fe1", "f0e0", "f01e0", "f1e00", "f100e0", "f1e10000", "f1e0 ",
                          " f1e0", "F1E0", "f1e0/../x", "f-1e0", "f1e99999999999999999999", "f1e0\n"})
    EXPECT_EQ(parse_generation(bad).error().id(), "HWS-BR-011") << bad;
}

TEST(ProxyArgv, TheBrokersOwnArgumentsComeFirst) {
  auto argv = make_proxy_argv("/bin/envoy", "/boot/f1e2.json", {1, 2}, {"--concurrency", "2", "--drain-time-s=5"});
  ASSERT_TRUE(argv) << argv.error().to_string();
  EXPECT_EQ(*argv, (std::vector<std::string>{"/bin/envoy", "-c", "/boot/f1e2.json", "--base-id", "4101",
                                             "--restart-epoch", "2", "--concurrency", "2", "--drain-time-s", "5"}));
}

TEST(ProxyArgv, LogFormatsMayHoldAnyPrintableText) {
  EXPECT_TRUE(make_proxy_argv(
      "e", "b", {1, 0},
      {"--log-format", "[%Y-%m-%d %T.%e][%t][%l] %v", "--component-log-level", "upstream:debug,connection:trace"}));
}

TEST(ProxyArgv, WhatNamesFilesOrAddressesIsRefused) {
  using Args = std::vector<std::string>;
  for (const Args& bad : {Args{"-c", "/etc/passwd"}, Args{"--config-path", "x"}, Args{"--config-yaml", "{}"},
                          Args{"--log-path", "/x"}, Args{"--admin-address-path", "/x"}, Args{"--base-id", "1"},
                          Args{"--restart-epoch", "1"}, Args{"--socket-path", "x"}, Args{"--concurrency"},
                          Args{"--concurrency", ""}, Args{"--concurrency", "x"}, Args{"--concurrency="},
                          Args{"--drain-time-s", "1234567"}, Args{"--log-level", "a b"}, Args{"--log-format", "a\nb"},
                          Args{"concurrency", "1"}, Args{"--concurrency", "1", "2"}, Args(40, "--concurrency=1")})
    EXPECT_FALSE(make_proxy_argv("e", "b", {1, 0}, bad)) << bad.front();
}

}  // namespace
}  // namespace hawser::broker
