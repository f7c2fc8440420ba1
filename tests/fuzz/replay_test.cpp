// SPDX-License-Identifier: Apache-2.0
// The fuzzers' seeds and whatever ever broke a promise, in every build: no clang needed.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>

#include "targets.h"

// As the fuzzers' -malloc_limit_mb (run.py): a few bytes mustn't make anybody ask for so much.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  constexpr std::size_t kMost = std::size_t{256} << 20;
  if (size > kMost) {
    std::fprintf(stderr, "%zu bytes are asked for at once\n", size);
    std::abort();
  }
  return std::malloc(size > 0 ? size : 1);
}
void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
// Inlined, g++ takes free() for the wrong end of a new.
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

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
