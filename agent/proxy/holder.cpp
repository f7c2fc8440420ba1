// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/holder.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "base/fd.h"
#include "proxy/generation_record.h"
#include "proxy/launcher.h"
#include "proxy/unprivileged.h"

namespace hawser::proxy {
namespace {

constexpr int kFailed = 71;  // EX_OSERR
constexpr int kMaxPeers = 256;

// The starter may be gone by now; the program goes on without it.
void tell(const std::string& text) {
  const std::string line = text + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return;
}

int refuse(const std::string& what) {
  tell("error: " + what);
  return kFailed;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Standard input from nowhere, output to the log or to the broker's standard error; never to the report's pipe.
int set_streams(const std::string& log) {
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || ::dup2(null, STDIN_FILENO) < 0) return errno;
  if (!log.empty()) {
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (out < 0 || ::dup2(out, STDERR_FILENO) < 0) return errno;
  }
  return ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ? errno : 0;
}

// In the child: waits until its record is on disk, then becomes the program.
[[noreturn]] void become_program(GenerationSpec& spec, int go, int failure) {
  char byte = 0;
  if (::read(go, &byte, 1) != 1) ::_exit(kFailed);
  int err = set_streams(spec.log);
  if (err == 0) err = become_unprivileged(spec.uid, spec.gid);
  if (err == 0) {
    auto argv = pointers(spec.argv);
    auto env = pointers(spec.env);
    ::umask(0077);
    ::execve(spec.binary.c_str(), argv.data(), env.data());
    err = errno;
  }
  if (::write(failure, &err, sizeof err) < 0) ::_exit(kFailed);
  ::_exit(kFailed);
}

// The processes' pipe ends, and which process the child is.
struct Child {
  pid_t pid = -1;
  UniqueFd go;
  UniqueFd failure;
};

Result<Child> fork_child(GenerationSpec& spec) {
  int go[2] = {-1, -1};
  int failure[2] = {-1, -1};
  if (::pipe2(go, O_CLOEXEC) != 0) return errno_error(errno, "HWS-BR-020", "can't make a pipe");
  UniqueFd go_read(go[0]);
  UniqueFd go_write(go[1]);
  if (::pipe2(failure, O_CLOEXEC) != 0) return errno_error(errno, "HWS-BR-020", "can't make a pipe");
  UniqueFd failure_read(failure[0]);
  UniqueFd failure_write(failure[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error(errno, "HWS-BR-020", "can't fork");
  if (pid == 0) {
    go_write.reset();
    become_program(spec, go_read.get(), failure_write.get());
  }
  return Child{pid, std::move(go_write), std::move(failure_read)};
}

int wait_for(pid_t pid) {
  int status = -1;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return status;
}

// 0 when the program runs; close-on-exec closes the pipe then.
int exec_errno(int failure) {
  int err = 0;
  ssize_t n = 0;
  do {
    n = ::read(failure, &err, sizeof err);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(sizeof err) ? err : 0;
}

void keep_only_setuid() {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct data[2] = {};
  data[0].effective = data[0].permitted = (1U << CAP_SETUID) | (1U << CAP_SETGID);
  ::syscall(SYS_capset, &header, data);  // fails only where we have fewer already
}

// Does another generation of this family still run? Its holder removes what they share.
bool family_lives(const std::string& record, const GenerationSpec& spec) {
  std::error_code error;
  int seen = 0;
  const std::filesystem::path own(record);
  for (std::filesystem::directory_iterator at(own.parent_path(), error), end; !error && at != end && seen < kMaxPeers;
       at.increment(error), ++seen) {
    const std::filesystem::path& path = at->path();
    if (path == own || path.extension() != ".json" || family_of(path.stem().string()) != family_of(spec.name)) continue;
    auto other = load_record(path.string());
    if (other && !other->ended && other->boot == boot_id() && identify(other->process.pid) == other->process)
      return true;
  }
  return false;
}

void unlink_leftovers(const std::string& record, const GenerationSpec& spec) {
  std::vector<std::string> paths = spec.leftovers;
  if (!family_lives(record, spec))
    paths.insert(paths.end(), spec.family_leftovers.begin(), spec.family_leftovers.end());
  // The broker's root has no CAP_DAC_OVERRIDE: in the proxy's folder and in the sticky /dev/shm only the owner may
  // unlink.
  if (become_unprivileged(spec.uid, spec.gid) != 0) return;
  for (const std::string& path : paths) ::unlink(path.c_str());
}

// The holder proper: from here on nobody waits for us.
int hold_program(const std::string& path, GenerationRecord& record) {
  auto child = fork_child(record.spec);
  if (!child) return refuse(child.error().to_string());
  record.boot = boot_id();
  record.holder = identify(::getpid());
  record.process = identify(child->pid);
  record.started_at = static_cast<std::uint64_t>(::time(nullptr));
  if (auto saved = save_record(path, record); !saved) return refuse(saved.error().to_string());
  if (::write(child->go.get(), "g", 1) != 1) return refuse("the child is gone");
  if (const int err = exec_errno(child->failure.get()); err != 0) {
    wait_for(child->pid);
    return refuse("can't execute " + record.spec.binary + ": " + std::strerror(err));
  }
  tell("ok");
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, stream);
  child->failure.reset();
  child->go.reset();
  keep_only_setuid();
  record.exit_status = wait_for(child->pid);
  record.ended = true;
  const bool saved = save_record(path, record).has_value();
  unlink_leftovers(path, record.spec);
  return saved ? 0 : kFailed;
}

}  // namespace

int hold(const std::string& path) {
  auto record = load_record(path);
  if (!record) return refuse(record.error().to_string());
  // Forked once more, so that the holder is nobody's child but init's, whoever started it.
  const pid_t pid = ::fork();
  if (pid < 0) return refuse(std::string("can't fork: ") + std::strerror(errno));
  if (pid > 0) return 0;
  ::setsid();
  for (const int number : {SIGHUP, SIGINT, SIGTERM, SIGPIPE}) ::signal(number, SIG_IGN);
  if (::chdir("/") != 0) return refuse("can't change to /");
  return hold_program(path, *record);
}

int sweep(const std::string& path) {
  auto record = load_record(path);
  if (!record) return kFailed;
  unlink_leftovers(path, record->spec);
  return 0;
}

}  // namespace hawser::proxy
