// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

// What: what a load has seen, for tests/lab/echo.py. Times are of the monotonic clock, which all processes of
// the machine share. Threading: any.
namespace hawser::hand_over {

using Clock = std::chrono::steady_clock;
using Nanoseconds = std::int64_t;
inline Nanoseconds nanoseconds(Clock::time_point at) {
  return at.time_since_epoch().count();
}

// http1: kept connections; fresh: a connection for each request; http2: unary calls over few connections; stream, tcp:
// an echo now and then over what stays open for as long as it is left open.
enum class Kind : std::uint32_t { kHttp1, kFresh, kHttp2, kStream, kTcp };
inline constexpr std::array<const char*, 5> kKindNames = {"http1", "fresh", "http2", "stream", "tcp"};

struct Sample {
  Nanoseconds due = 0;  // when it was to be sent: who waits in the client's own queue waits, too
  std::uint32_t microseconds = 0;
  std::uint32_t kind = 0;
};
static_assert(sizeof(Sample) == 16);

class Tally {
 public:
  void good(Kind kind, Clock::time_point due);
  void failed(Kind kind, const std::string& why);
  // A stream or a TCP connection was ended by the other side. Whether that was too early, the reader knows.
  void ended(Kind kind, const std::string& how, Clock::time_point opened);
  bool all_good_once(const std::vector<Kind>& kinds) const;

  // Samples as they lie in memory; everything else as JSON.
  bool write_samples(const std::string& path) const;
  std::string json() const;

 private:
  struct Event {
    Nanoseconds at = 0, opened = 0;
    Kind kind{};
    std::string what;
  };
  static constexpr std::size_t kMaxEvents = 20000;

  void note(std::vector<Event>& where, Event event);

  mutable std::mutex mutex_;
  std::vector<Sample> samples_;
  std::vector<Event> failures_, ends_;
  std::array<std::uint64_t, kKindNames.size()> good_{}, failed_{}, ended_{};
};

}  // namespace hawser::hand_over
