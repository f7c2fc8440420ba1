// SPDX-License-Identifier: Apache-2.0
// The fuzzers' seeds and whatever ever broke a promise, in every build: no clang needed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "targets.h"

namespace hawser::fuzz {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Each input, cut short everywhere and with each byte turned around: what a fuzzer does first.
void disturb(const Target& target, const std::string& bytes) {
  for (std::size_t i = 0; i < bytes.size() && i < 400; ++i) {
    target.run(std::string_view(bytes).substr(0, i));
    std::string changed = bytes;
    changed[i] = static_cast<char>(~changed[i]);
    target.run(changed);
  }
}

TEST(FuzzCorpus, EveryInputKeepsEveryPromise) {
  const char* source = std::getenv("HAWSER_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  silence_libraries();
  for (const Target& target : kTargets) {
    SCOPED_TRACE(target.name);
    int inputs = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(source) / "tests/fuzz/corpus" / target.name)) {
      SCOPED_TRACE(entry.path().filename());
      const std::string bytes = read_file(entry.path());
      target.run(bytes);
      disturb(target, bytes);
      ++inputs;
    }
    EXPECT_GE(inputs, 3) << "a target without seeds finds nothing";
  }
}

}  // namespace
}  // namespace hawser::fuzz
