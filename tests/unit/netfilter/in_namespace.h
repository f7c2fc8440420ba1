// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>

namespace hawser::netfilter {

// A program's standard output, run in the calling thread's namespaces.
inline std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return out;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  (void)::pclose(pipe);
  return out;
}

// Runs `work` in a network and a mount namespace of its own, with lo up and cgroup v2 at /sys/fs/cgroup. It needs root:
// without, the test is skipped.
inline void in_namespace(const std::function<void()>& work) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root for namespaces";
  std::string failed;
  std::thread thread([&] {
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) {
      failed = "unshare: " + std::to_string(errno);
      return;
    }
    (void)output_of("ip link set lo up");
    (void)::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, nullptr) != 0)
      failed = "cgroup2: " + std::to_string(errno);
    else
      work();
  });
  thread.join();
  if (!failed.empty()) GTEST_SKIP() << "no namespaces here: " << failed;
}

}  // namespace hawser::netfilter
