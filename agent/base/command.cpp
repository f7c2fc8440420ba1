// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "base/spawn.h"

namespace hawser {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxComplaint = 4096;
constexpr std::size_t kMaxQuote = 200;
constexpr std::size_t kLongWord = 80;
// A killed process may stay in the kernel (a dead NFS server); the worker doesn't wait for that.
constexpr std::chrono::milliseconds kReapTime{2'000};

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return errno_error(errno, "HWS-EX-001", "can't make a pipe", "raise LimitNOFILE= of hawserd");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// All of it is in the pipe before anyone reads: nothing to wait for, and no SIGPIPE from a program that doesn't look.
Status fill(Pipe& pipe, const std::string& input) {
  ::fcntl(pipe.write.get(), F_SETFL, O_NONBLOCK);
  if (!input.empty() && ::write(pipe.write.get(), input.data(), input.size()) != static_cast<ssize_t>(input.size()))
    return Error(Code::kInvalidArgument, "HWS-EX-001", "the program's input doesn't fit into a pipe", "report it");
  pipe.write.reset();
  return {};
}

std::vector<std::string> environment_of(const Command& command) {
  std::map<std::string, std::string> all = {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
  for (const char* name : {"PATH", "HOME", "LANG", "TZ"})
    if (const char* value = std::getenv(name)) all[name] = value;
  for (const auto& [name, value] : command.env) all[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : all) lines.push_back(name + "=" + value);
  return lines;
}

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  if (const auto start = text.rfind('\n'); start != std::string::npos) text.erase(0, start + 1);
  return text;
}

// As it may stand in a log.
std::string quotable(const std::string& complaint) {
  std::string quote;
  std::string word;
  const auto end_word = [&] {
    quote += word.size() > kLongWord ? "(…)" : word;
    word.clear();
  };
  for (const char letter : last_line(complaint)) {
    const auto byte = static_cast<unsigned char>(letter);
    if (letter == ' ' || letter == '\t') {
      end_word();
      quote += ' ';
    } else {
      word += byte >= 0x20 && byte < 0x7f ? letter : '?';
    }
  }
  end_word();
  if (quote.size() > kMaxQuote) quote = quote.substr(0, kMaxQuote) + "…";
  return quote;
}

// One program, from its start until it is reaped.
class Running {
 public:
  Running(const Command& command, int cancelled) : command_(command), cancelled_(cancelled) {
    // Room for all of it at once: what grows leaves copies of a secret behind.
    output_.reserve(command.max_output);
  }
  ~Running() { kill_group(); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  Status start() {
    auto in = make_pipe();
    auto out = make_pipe();
    auto err = make_pipe();
    for (const auto* made : {&in, &out, &err})
      if (!*made) return made->error();
    if (auto filled = fill(*in, command_.input); !filled) return filled;
    const auto environment = environment_of(command_);
    auto pid = spawn_group(command_.argv, {in->read.get(), out->write.get(), err->write.get()}, &environment);
    if (!pid) return pid.error();
    pid_ = *pid;
    process_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (!process_) return errno_error(errno, "HWS-EX-001", "can't watch " + name(), "use Linux 5.3 or later");
    out_ = std::move(out->read);
    err_ = std::move(err->read);
    for (const auto* end : {&out_, &err_}) ::fcntl(end->get(), F_SETFL, O_NONBLOCK);
    return {};
  }

  // Until it ends, or has to be ended.
  Status wait() {
    const auto deadline = Clock::now() + command_.timeout;
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      if (left.count() <= 0) return timed_out();
      std::array<pollfd, 4> watched = {
          {{cancelled_, POLLIN, 0}, {process_.get(), POLLIN, 0}, {out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}}};
      if (::poll(watched.data(), watched.size(), static_cast<int>(left.count())) < 0 && errno != EINTR)
        return errno_error(errno, "HWS-EX-001", "can't wait for " + name(), "report it");
      if (watched[0].revents != 0) return cancelled();
      // Looked at before its output is: what it wrote before it ended is all there then.
      const bool ended = watched[1].revents != 0;
      if (ended) kill_group();
      if (auto taken = take(); !taken) return taken;
      if (ended) return {};
    }
  }

  void kill_group() {
    if (pid_ != 0) ::kill(-pid_, SIGKILL);
  }

  // Its wait status; nothing where the kernel keeps it, and then its pid is still ours.
  std::optional<int> reap() {
    pollfd watched{process_.get(), POLLIN, 0};
    if (process_) ::poll(&watched, 1, static_cast<int>(kReapTime.count()));
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = 0;
    return status;
  }

  Error failed(const std::string& how) const {
    const auto quote = quotable(complaint_);
    return {Code::kUnavailable, "HWS-EX-004", name() + " " + how + (quote.empty() ? "" : ": " + quote),
            "run it by hand as hawserd's user"};
  }

  std::string take_output() { return std::move(output_); }
  pid_t pid() const { return pid_; }

 private:
  std::string name() const { return command_.argv.empty() ? "" : command_.argv[0]; }

  Error cancelled() const {
    return {Code::kCancelled, "HWS-EX-005", name() + " was cancelled", "nothing needs to be done"};
  }

  Error timed_out() const {
    const auto quote = quotable(complaint_);
    return {Code::kDeadlineExceeded, "HWS-EX-002",
            name() + " wasn't done within " + std::to_string(command_.timeout.count()) + " ms" +
                (quote.empty() ? "" : "; it said: " + quote),
            "run it by hand as hawserd's user, or allow more time"};
  }

  Status take() {
    std::array<char, 4096> buffer{};
    Status taken;
    if (auto got = read_all(out_, buffer, [&](std::size_t size) { return add_output(buffer.data(), size); }); !got)
      taken = got;
    (void)read_all(err_, buffer, [&](std::size_t size) {
      complaint_.append(buffer.data(), size);
      if (complaint_.size() > kMaxComplaint) complaint_.erase(0, complaint_.size() - kMaxComplaint);
      return Status();
    });
    ::explicit_bzero(buffer.data(), buffer.size());
    return taken;
  }

  // A stream that never pauses isn't read for ever: poll() comes back to it, after a look at the time.
  template <typename Take>
  Status read_all(UniqueFd& from, std::array<char, 4096>& buffer, Take take) {
    constexpr int kMostReads = 64;
    for (int i = 0; from && i < kMostReads; ++i) {
      const ssize_t size = ::read(from.get(), buffer.data(), buffer.size());
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) break;
      if (size <= 0) {
        from.reset();
        break;
      }
      if (auto taken = take(static_cast<std::size_t>(size)); !taken) return taken;
    }
    return {};
  }

  Status add_output(const char* data, std::size_t size) {
    if (output_.size() + size > command_.max_output)
      return Error(Code::kFailedPrecondition, "HWS-EX-003",
                   name() + " said more than " + std::to_string(command_.max_output) + " bytes",
                   "let it write nothing but the answer to its standard output");
    output_.append(data, size);
    return {};
  }

  const Command& command_;
  int cancelled_;
  pid_t pid_ = 0;
  UniqueFd process_;
  UniqueFd out_;
  UniqueFd err_;
  std::string output_;
  std::string complaint_;
};

}  // namespace

CommandRun::CommandRun() : cancelled_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

CommandRun::~CommandRun() {
  for (const pid_t pid : unreaped_) ::waitpid(pid, nullptr, WNOHANG);
}

Result<std::string> CommandRun::run(const Command& command) {
  unreaped_.erase(std::remove_if(unreaped_.begin(), unreaped_.end(),
                                 [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; }),
                  unreaped_.end());
  Running running(command, cancelled_.get());
  auto outcome = running.start();
  if (outcome) outcome = running.wait();
  // Killed before it is reaped: until then the kernel gives its number, which is the group's, to nobody else.
  running.kill_group();
  std::optional<int> status;
  if (running.pid() != 0) {
    status = running.reap();
    if (!status) unreaped_.push_back(running.pid());
  }
  if (!outcome) return outcome.error();
  if (!status) return running.failed("can't be waited for");
  if (WIFSIGNALED(*status)) return running.failed("was ended by signal " + std::to_string(WTERMSIG(*status)));
  if (WEXITSTATUS(*status) != 0) return running.failed("exited with " + std::to_string(WEXITSTATUS(*status)));
  return running.take_output();
}

void CommandRun::cancel() {
  const std::uint64_t one = 1;
  (void)!::write(cancelled_.get(), &one, sizeof(one));
}

}  // namespace hawser
