// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/generation_record.h"

#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace hawser::proxy {
namespace {

GenerationRecord sample() {
  GenerationRecord record;
  record.spec.name = "f1e0";
  record.spec.binary = "/bin/envoy";
  record.spec.argv = {"envoy", "--log-format", "[%t] \"quoted\" \xff"};
  record.spec.env = {"A=b"};
  record.spec.uid = 882;
  record.spec.gid = 883;
  record.spec.leftovers = {"/run/a"};
  record.spec.family_leftovers = {"/dev/shm/b"};
  record.spec.permits = {true, false};
  record.spec.memory_max = 5ULL << 30U;
  record.out_of_memory = true;
  record.boot = "boot";
  record.holder = {100, 5000};
  record.process = {101, 5001};
  record.started_at = 1'700'000'000;
  record.exit_status = 9;
  record.ended = true;
  return record;
}

TEST(GenerationRecord, WhatIsSavedIsLoaded) {
  TemporaryFolder folder;
  const std::string path = record_path(folder.path(), "f1e0");
  ASSERT_TRUE(save_record(path, sample()));
  auto loaded = load_record(path);
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->spec.name, "f1e0");
  EXPECT_EQ(loaded->spec.argv.size(), 3U);
  EXPECT_EQ(loaded->spec.uid, 882U);
  EXPECT_EQ(loaded->spec.gid, 883U);
  EXPECT_EQ(loaded->spec.leftovers, sample().spec.leftovers);
  EXPECT_EQ(loaded->spec.family_leftovers, sample().spec.family_leftovers);
  EXPECT_EQ(loaded->spec.permits, sample().spec.permits);
  EXPECT_EQ(loaded->spec.memory_max, sample().spec.memory_max);
  EXPECT_TRUE(loaded->out_of_memory);
  EXPECT_EQ(loaded->holder, sample().holder);
  EXPECT_EQ(loaded->process, sample().process);
  EXPECT_EQ(loaded->started_at, sample().started_at);
  EXPECT_EQ(loaded->exit_status, 9);
  EXPECT_TRUE(loaded->ended);
}

TEST(GenerationRecord, ACutOffFileIsAnErrorAndNothingWorse) {
  TemporaryFolder folder;
  const std::string path = folder / "f1e0.json";
  ASSERT_TRUE(save_record(path, sample()));
  std::ifstream in(path);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  for (std::size_t length = 0; length + 2 < whole.size(); length += 7) {
    auto loaded = load_record(folder.write("cut.json", whole.substr(0, length)));
    ASSERT_FALSE(loaded) << length;
    EXPECT_EQ(loaded.error().id(), "HWS-BR-024");
  }
}

TEST(GenerationRecord, WrongTypesAreAnError) {
  TemporaryFolder folder;
  for (const char* text : {"[]", "{}", "{\"spec\": 1}", "null", "{\"spec\": {\"name\": 5}}"})
    EXPECT_EQ(load_record(folder.write("x.json", text)).error().id(), "HWS-BR-024") << text;
}

}  // namespace
}  // namespace hawser::proxy
