// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/spawn.h"
#include "registration/probe_attempt.h"

namespace hawser::registration {
namespace {

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
    if (probe.command.empty()) return finish_later(unwell("health.exec.command is empty"));
    auto pid = spawn_group(probe.command, {});
    if (!pid) return finish_later(unwell(pid.error().message()));
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

class ExecHandle final : public ProbeAttempt {
 public:
  explicit ExecHandle(std::shared_ptr<Command> command) : command_(std::move(command)) {}
  ~ExecHandle() override { command_->abandon(); }
  bool settled() const override { return command_->reaped(); }

 private:
  std::shared_ptr<Command> command_;
};

}  // namespace

std::shared_ptr<ProbeAttempt> attempt_exec(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done) {
  auto command = std::make_shared<Command>(loop, probe, std::move(done));
  command->start(probe);
  return std::make_shared<ExecHandle>(std::move(command));
}

}  // namespace hawser::registration
