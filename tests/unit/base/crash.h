// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/failpoint.h"

#ifdef HAWSER_FAILPOINTS

// What: runs a piece of work once for each durable step that it passes, with the crash or the failure there.
namespace hawser::crash {

// Each step the work passes, and for which time: {"rename/a", 1}. The work runs once, in full, in a child process.
inline std::vector<std::pair<std::string, int>> steps_of(const std::function<void()>& work) {
  int pipe_ends[2];
  if (::pipe(pipe_ends) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    failpoint::arm("");
    work();
    for (const auto& name : failpoint::passed()) (void)!::write(pipe_ends[1], (name + "\n").c_str(), name.size() + 1);
    ::_exit(0);
  }
  ::close(pipe_ends[1]);
  std::string text;
  char chunk[4096];
  for (ssize_t n; (n = ::read(pipe_ends[0], chunk, sizeof chunk)) > 0;) text.append(chunk, static_cast<std::size_t>(n));
  ::close(pipe_ends[0]);
  ::waitpid(child, nullptr, 0);
  std::vector<std::pair<std::string, int>> out;
  std::map<std::string, int> times;
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string name = text.substr(at, end - at);
    out.emplace_back(name, ++times[name]);
  }
  return out;
}

// Whether the work was killed there, in a child process.
inline bool dies_at(const std::pair<std::string, int>& step, const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    failpoint::arm(step.first + ":crash@" + std::to_string(step.second));
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

}  // namespace hawser::crash

#endif
