// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/child.h"

#include <linux/close_range.h>
#include <sys/resource.h>
#include <unistd.h>

extern "C" {  // glibc 2.36 forgets it
#include <sys/pidfd.h>
}

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/readable_pipe.hpp>
#include <boost/process/v2/posix/default_launcher.hpp>
#include <boost/process/v2/process.hpp>
#include <boost/process/v2/stdio.hpp>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>

#include "proxy/unprivileged.h"

namespace hawser::proxy {
namespace {

namespace asio = boost::asio;
namespace bp = boost::process::v2;
using Executor = asio::io_context::executor_type;

// Runs in the child, last before exec. The launcher reports errno, not the code that we return.
struct LastSteps {
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint64_t memory = 0;

  bp::error_code on_exec_setup(bp::posix::default_launcher& /*launcher*/, const bp::filesystem::path& /*binary*/,
                               const char* const*(&)) const {
    // Boost 1.81 lets some descriptors through, among them the other end of our own pipe. Marked rather than closed:
    // the launcher still reports failures through one of them.
    if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return {errno, bp::system_category()};
    const rlimit data{memory, memory};
    if (memory != 0 && ::setrlimit(RLIMIT_DATA, &data) != 0) return {errno, bp::system_category()};
    if (uid == 0) return {};
    if (::setsid() < 0) return {errno, bp::system_category()};
    const int err = become_unprivileged(uid, gid);
    errno = err;
    return err == 0 ? bp::error_code() : bp::error_code(err, bp::system_category());
  }
};

// One run. Done when the output has ended and the process has been waited for; lives as long as something is pending.
class Run : public std::enable_shared_from_this<Run> {
 public:
  Run(AsioLoop& loop, ChildSpec spec, ChildDone done)
      : loop_(loop), spec_(std::move(spec)), done_(std::move(done)), output_(loop.context()), end_(loop.context()) {}
  ~Run() { kill_all(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void start() {
    bp::error_code error;
    // In place: assigning to a member would close the descriptor with the temporary.
    bp::process_stdio stdio{nullptr, output_, {}};
    bp::posix::default_launcher launcher;
    // process_environment isn't linkable header-only in Boost 1.81; the launcher takes the array itself.
    std::vector<const char*> environment;
    for (const std::string& variable : spec_.env) environment.push_back(variable.c_str());
    environment.push_back(nullptr);
    launcher.env = environment.data();
    // The overload that takes the context itself loses the error code and throws instead (Boost 1.81).
    const Executor executor = loop_.context().get_executor();
    if (spec_.collect_stderr) {
      // Both into one pipe: the write end is bound to stdout, and stderr follows it in the child.
      process_.emplace(launcher(executor, error, spec_.binary, spec_.args, stdio, StderrToStdout{},
                                LastSteps{spec_.uid, spec_.gid, spec_.memory}));
    } else {
      process_.emplace(
          launcher(executor, error, spec_.binary, spec_.args, stdio, LastSteps{spec_.uid, spec_.gid, spec_.memory}));
    }
    if (error)
      return finish(Error(Code::kInternal, "HWS-BR-025", "can't start " + spec_.binary + ": " + error.message(),
                          "check that the file is there and may be executed"));
    pid_ = process_->id();
    end_.assign(::pidfd_open(pid_, 0), error);
    if (error)
      return finish(Error(Code::kInternal, "HWS-BR-025", "can't watch " + spec_.binary + ": " + error.message()));
    timer_ = loop_.after(spec_.timeout, [self = weak_from_this()] {
      if (auto run = self.lock()) run->give_up();
    });
    read();
    end_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [self = shared_from_this()](const bp::error_code& failed) {
                      if (!failed) self->ended();
                    });
  }

 private:
  struct StderrToStdout {
    bp::error_code on_exec_setup(bp::posix::default_launcher& /*launcher*/, const bp::filesystem::path& /*binary*/,
                                 const char* const*(&)) const {
      return ::dup2(STDOUT_FILENO, STDERR_FILENO) < 0 ? bp::error_code(errno, bp::system_category()) : bp::error_code();
    }
  };

  void read() {
    output_.async_read_some(asio::buffer(chunk_),
                            [self = shared_from_this()](const bp::error_code& error, std::size_t n) {
                              self->text_.append(self->chunk_, n);
                              if (self->text_.size() > self->spec_.keep)
                                self->text_.erase(0, self->text_.size() - self->spec_.keep);
                              if (!error) return self->read();
                              self->output_ended_ = true;
                              self->finish_if_over();
                            });
  }

  void kill_all() const {
    if (pid_ <= 0) return;
    if (spec_.uid != 0) ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
  }

  void ended() {
    kill_all();
    bp::error_code failed;
    exit_code_ = process_->wait(failed);
    if (failed) exit_code_ = -1;
    pid_ = 0;
    exited_ = true;
    finish_if_over();
  }

  void give_up() {
    bp::error_code ignored;
    kill_all();
    output_.close(ignored);
    finish(Error(Code::kDeadlineExceeded, "HWS-BR-026", spec_.binary + " didn't end in time",
                 "try again when the host is less busy"));
  }

  void finish_if_over() {
    if (exited_ && output_ended_) finish(ChildResult{exit_code_, std::move(text_)});
  }

  void finish(Result<ChildResult> result) {
    timer_.reset();
    if (auto done = std::exchange(done_, nullptr)) done(std::move(result));
  }

  AsioLoop& loop_;
  ChildSpec spec_;
  ChildDone done_;
  asio::readable_pipe output_;
  asio::posix::stream_descriptor end_;  // a pidfd
  std::optional<bp::basic_process<Executor>> process_;
  // Until it has been waited for: as long, the number is this child's, and its session's.
  pid_t pid_ = 0;
  std::unique_ptr<Loop::Timer> timer_;
  char chunk_[4096] = {};
  std::string text_;
  bool output_ended_ = false;
  bool exited_ = false;
  int exit_code_ = 0;
};

}  // namespace

void run_child(AsioLoop& loop, ChildSpec spec, ChildDone done) {
  std::make_shared<Run>(loop, std::move(spec), std::move(done))->start();
}

}  // namespace hawser::proxy
