// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

extern char** environ;

namespace hawser {
namespace {

// posix_spawn's two objects.
class Settings {
 public:
  explicit Settings(const SpawnStreams& streams) {
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    sigset_t ignored;
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &ignored);
    posix_spawn_file_actions_init(&actions);
    connect(streams.in, STDIN_FILENO);
    connect(streams.out, STDOUT_FILENO);
    connect(streams.err, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  }
  ~Settings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;

  posix_spawnattr_t attributes{};
  posix_spawn_file_actions_t actions{};

 private:
  void connect(int ours, int theirs) {
    if (ours >= 0)
      posix_spawn_file_actions_adddup2(&actions, ours, theirs);
    else
      posix_spawn_file_actions_addopen(&actions, theirs, "/dev/null", theirs == STDIN_FILENO ? O_RDONLY : O_WRONLY, 0);
  }
};

std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const auto& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<pid_t> spawn_group(const std::vector<std::string>& argv, const SpawnStreams& streams,
                          const std::vector<std::string>* environment) {
  if (argv.empty() || argv[0].empty())
    return Error(Code::kInvalidArgument, "HWS-EX-001", "no program is named", "name the program to run");
  auto words = pointers_to(argv);
  std::vector<char*> variables;
  if (environment != nullptr) variables = pointers_to(*environment);
  const Settings settings(streams);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, words[0], &settings.actions, &settings.attributes, words.data(),
                                 environment != nullptr ? variables.data() : environ);
  if (error != 0)
    return errno_error(error, "HWS-EX-001", "can't run " + argv[0],
                       "check that it exists and that hawserd's user may run it");
  return pid;
}

}  // namespace hawser
