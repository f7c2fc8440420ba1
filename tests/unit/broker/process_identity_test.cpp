// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/process_identity.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace hawser::proxy {
namespace {

// A child that only waits; killed and reaped with the object.
struct Sleeper {
  Sleeper() : pid(::fork()) {
    if (pid == 0) {
      ::prctl(PR_SET_NAME, "a) b (c 9 9");
      for (;;) ::pause();
    }
  }
  ~Sleeper() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  pid_t pid;
};

TEST(ProcessIdentity, AProcessIsRecognisedWhateverItsNameIs) {
  Sleeper sleeper;
  const ProcessIdentity first = identify(sleeper.pid);
  EXPECT_TRUE(first);
  EXPECT_EQ(identify(sleeper.pid), first);
  EXPECT_TRUE(open_pidfd(first));
}

TEST(ProcessIdentity, TheSameNumberOfAnotherTimeIsNotTheSameProcess) {
  Sleeper sleeper;
  ProcessIdentity other = identify(sleeper.pid);
  ++other.start_time;
  EXPECT_FALSE(open_pidfd(other));
}

TEST(ProcessIdentity, AZombieHasEnded) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(identify(pid));
  ::waitpid(pid, nullptr, 0);
}

TEST(ProcessIdentity, ItsDescriptorTellsTheEnd) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::pause();
  }
  const UniqueFd fd = open_pidfd(identify(pid));
  ASSERT_TRUE(fd);
  pollfd item{fd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&item, 1, 0), 0);
  ::kill(pid, SIGKILL);
  EXPECT_EQ(::poll(&item, 1, 5000), 1);
  ::waitpid(pid, nullptr, 0);
}

TEST(ProcessIdentity, NoProcessIsNobody) {
  EXPECT_FALSE(identify(0));
  EXPECT_FALSE(identify(-1));
  EXPECT_FALSE(open_pidfd({}));
}

TEST(BootId, IsTheSameWhileTheMachineRuns) {
  EXPECT_GE(boot_id().size(), 36U);
  EXPECT_EQ(boot_id(), boot_id());
}

}  // namespace
}  // namespace hawser::proxy
