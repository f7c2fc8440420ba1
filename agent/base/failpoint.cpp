// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/failpoint.h"

#ifdef HAWSER_FAILPOINTS

#include <fnmatch.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

namespace hawser::failpoint {
namespace {

constexpr std::size_t kMaxPassed = 4096;
constexpr unsigned kMaxDelayMs = 60'000;

struct Plan {
  std::string pattern;  // empty: nothing is armed
  bool crash = false;
  bool tell = false;
  int error = 0;
  unsigned delay_ms = 0;
  unsigned passage = 0;  // 0: each
  bool onwards = false;  // and those after it
};

constexpr std::array<std::pair<std::string_view, int>, 8> kErrors = {{{"EACCES", EACCES},
                                                                      {"EDQUOT", EDQUOT},
                                                                      {"EIO", EIO},
                                                                      {"EMFILE", EMFILE},
                                                                      {"ENOENT", ENOENT},
                                                                      {"ENOMEM", ENOMEM},
                                                                      {"ENOSPC", ENOSPC},
                                                                      {"EROFS", EROFS}}};

[[noreturn]] void not_understood(const std::string& text) {
  std::fprintf(stderr, "HAWSER_FAILPOINT=%s isn't PATTERN:crash[@N], :errno=NAME[@N[+]], :delay=MS[@N[+]] or :tell\n",
               text.c_str());
  std::abort();
}

// Digits only: from_chars leaves what it doesn't understand.
bool read_number(std::string_view text, unsigned& out) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && rest == text.data() + text.size() && out > 0;
}

Plan parse(const std::string& text) {
  Plan plan;
  if (text.empty()) return plan;
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) not_understood(text);
  plan.pattern = text.substr(0, colon);
  std::string_view action = std::string_view(text).substr(colon + 1);
  if (const auto at = action.find('@'); at != std::string_view::npos) {
    std::string_view passage = action.substr(at + 1);
    plan.onwards = passage.ends_with('+');
    if (plan.onwards) passage.remove_suffix(1);
    if (!read_number(passage, plan.passage)) not_understood(text);
    action = action.substr(0, at);
  }
  constexpr std::string_view kErrno = "errno=", kDelay = "delay=";
  if (action == "crash") {
    plan.crash = true;
  } else if (action == "tell") {
    plan.tell = true;
  } else if (action.rfind(kErrno, 0) == 0) {
    for (const auto& [name, number] : kErrors)
      if (name == action.substr(kErrno.size())) plan.error = number;
  } else if (action.rfind(kDelay, 0) == 0) {
    if (!read_number(action.substr(kDelay.size()), plan.delay_ms) || plan.delay_ms > kMaxDelayMs) not_understood(text);
  }
  if (!plan.crash && !plan.tell && plan.error == 0 && plan.delay_ms == 0) not_understood(text);
  return plan;
}

class Points {
 public:
  Points() {
    if (const char* text = std::getenv("HAWSER_FAILPOINT")) arm(text);
  }

  void arm(const std::string& text) {
    const std::lock_guard<std::mutex> guard(mutex_);
    plan_ = parse(text);
    matches_ = 0;
    passed_.clear();
  }

  std::vector<std::string> passed() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return passed_;
  }

  int pass(std::string name) {
    unsigned delay_ms = 0;
    const int error = pass(std::move(name), delay_ms);
    // Beside the lock: other threads' disks aren't slow for that.
    if (delay_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    return error;
  }

 private:
  int pass(std::string name, unsigned& delay_ms) {
    const std::lock_guard<std::mutex> guard(mutex_);
    const bool named = !plan_.pattern.empty() && ::fnmatch(plan_.pattern.c_str(), name.c_str(), 0) == 0;
    if (named) ++matches_;
    const bool meant =
        named && (plan_.passage == 0 || matches_ == plan_.passage || (plan_.onwards && matches_ > plan_.passage));
    if (meant && (plan_.tell || plan_.delay_ms > 0)) std::fprintf(stderr, "failpoint %s\n", name.c_str());
    if (passed_.size() < kMaxPassed) passed_.push_back(std::move(name));
    if (!meant) return 0;
    if (plan_.crash) (void)::kill(::getpid(), SIGKILL);
    delay_ms = plan_.delay_ms;
    return plan_.error;
  }

  std::mutex mutex_;
  Plan plan_;
  unsigned matches_ = 0;
  std::vector<std::string> passed_;
};

Points& points() {
  static Points all;
  return all;
}

}  // namespace

bool fails(std::string_view step, const std::string& path) {
  const auto slash = path.rfind('/');
  std::string name(step);
  name += "/" + (slash == std::string::npos ? path : path.substr(slash + 1));
  const int error = points().pass(std::move(name));
  if (error != 0) errno = error;
  return error != 0;
}

void arm(const std::string& text) {
  points().arm(text);
}

std::vector<std::string> passed() {
  return points().passed();
}

}  // namespace hawser::failpoint

#endif
