// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

// What: one function a kind of bytes that come from outside. It takes any bytes; it aborts when a promise about them is
// broken, and the sanitizers do so for memory. libFuzzer calls it (./dev test fuzz), and every build replays the corpus
// (replay_test.cpp). A new target: a file here, a line below and in CMakeLists.txt, a folder in corpus/.
namespace hawser::fuzz {

void jwt(std::string_view bytes);
void key_store(std::string_view bytes);
void kubeconfig(std::string_view bytes);
void other_settings(std::string_view bytes);
void broker(std::string_view bytes);
void certificates(std::string_view bytes);
void response(std::string_view bytes);
void request(std::string_view bytes);
void snapshot(std::string_view bytes);
void strip(std::string_view bytes);
void token_answer(std::string_view bytes);
void trust(std::string_view bytes);
void world(std::string_view bytes);

struct Target {
  const char* name;
  void (*run)(std::string_view bytes);
};
inline constexpr Target kTargets[] = {
    {"broker", broker},       {"certificates", certificates}, {"jwt", jwt},
    {"key_store", key_store}, {"kubeconfig", kubeconfig},     {"other_settings", other_settings},
    {"response", response},   {"request", request},           {"snapshot", snapshot},
    {"strip", strip},         {"token_answer", token_answer}, {"trust", trust},
    {"world", world}};

// protobuf logs each message that isn't one.
void silence_libraries();

inline void require(bool held, const char* promise) {
  if (held) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

}  // namespace hawser::fuzz
