// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "registration/probe_attempt.h"

extern char** environ;

namespace hawser::registration {
namespace {

// posix_spawn's two objects, with what a probe's command gets: a process group of its own, so that a time-out can end
// whatever it started; no descriptor and no signal state of ours.
class SpawnSettings {
 public:
  SpawnSettings() {
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
    for (const int fd : {0, 1, 2})
      posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  posix_spawnattr_t attributes{};
  posix_spawn_file_actions_t actions{};
};

Result<pid_t> spawn(const std::vector<std::string>& command) {
  if (command.empty()) return unwell("health.exec.command is empty");
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const SpawnSettings settings;
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, argv[0], &settings.actions, &settings.attributes, argv.data(), environ);
  if (error != 0) return unwell("can't run " + command[0] + ": " + std::strerror(error));
  return pid;
}

// One command, from its start until it is reaped. It lives as long as something waits for the process, also when nobody
// asks for the result any more: a killed process may stay in the kernel (a dead NFS server), and the loop can't wait.
class Command final : public std::enable_shared_from_this<Command> {
 public:
  Command(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done)
      : loop_(loop),
        watch_(loop.context()),
        done_(std::move(done)),
        name_(probe.command.empty() ? "" : probe.command[0]) {}
  ~Command() { kill_group(); }

  void start(const config::HealthProbe& probe) {
    auto pid = spawn(probe.command);
    if (!pid) return finish_later(pid.error());
    pid_ = *pid;
    UniqueFd watched(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    boost::system::error_code failed;
    if (watched) watch_.assign(watched.release(), failed);
    if (!watch_.is_open()) {
      kill_group();
      ::waitpid(pid_, nullptr, WNOHANG);
      pid_ = 0;
      return finish_later(unwell("can't watch " + name_ + ": " + std::strerror(errno)));
    }
    // the handler keeps this object until the process is gone
    watch_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](const boost::system::error_code& error) {
                        if (!error) self->ended();
                      });
    timer_ = loop_.after(probe.timeout, [this] {
      kill_group();
      finish(unwell(name_ + " didn't end in time"));
    });
  }

  void abandon() {
    done_ = nullptr;
    timer_.reset();
    kill_group();
  }
  bool reaped() const { return pid_ == 0; }

 private:
  void ended() {
    // Killed before it is reaped: until then the kernel gives its number, which is the group's, to nobody else.
    kill_group();
    int status = 0;
    const bool known = ::waitpid(pid_, &status, WNOHANG) == pid_;
    pid_ = 0;
    boost::system::error_code ignored;
    watch_.close(ignored);
    if (!known) return finish(unwell(name_ + " can't be waited for"));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return finish({});
    if (WIFEXITED(status)) return finish(unwell(name_ + " exited with " + std::to_string(WEXITSTATUS(status))));
    finish(unwell(name_ + " was ended by signal " + std::to_string(WTERMSIG(status))));
  }

  void kill_group() {
    if (pid_ != 0) ::kill(-pid_, SIGKILL);
  }

  void finish_later(const Error& error) {
    timer_ = loop_.after(std::chrono::milliseconds(0), [this, error] { finish(error); });
  }

  void finish(Status status) {
    timer_.reset();
    if (auto done = std::exchange(done_, nullptr)) done(std::move(status));
  }

  AsioLoop& loop_;
  boost::asio::posix::stream_descriptor watch_;
  ProbeAttempt::Done done_;
  std::string name_;
  pid_t pid_ = 0;
  std::unique_ptr<Loop::Timer> timer_;
};

class Handle final : public ProbeAttempt {
 public:
  explicit Handle(std::shared_ptr<Command> command) : command_(std::move(command)) {}
  ~Handle() override { command_->abandon(); }
  bool settled() const override { return command_->reaped(); }

 private:
  std::shared_ptr<Command> command_;
};

}  // namespace

std::shared_ptr<ProbeAttempt> attempt_exec(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done) {
  auto command = std::make_shared<Command>(loop, probe, std::move(done));
  command->start(probe);
  return std::make_shared<Handle>(std::move(command));
}

}  // namespace hawser::registration
