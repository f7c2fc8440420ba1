// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/failpoint.h"
#include "base/fd.h"

namespace hawser::file {
namespace {

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

constexpr char kMakeRoom[] = "free space or make the folder writable";

Status write_part(int fd, std::string_view content, const std::string& path) {
  if (failpoint::fails("write.data", path)) return errno_error(errno, "HWS-FS-001", "can't write " + path, kMakeRoom);
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "HWS-FS-001", "can't write " + path, kMakeRoom);
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

// In two parts where fail-points are, so that a crash can leave half a file.
Status write_all(int fd, std::string_view content, const std::string& path) {
  const std::size_t half = failpoint::kEnabled ? content.size() / 2 : 0;
  if (half > 0)
    if (auto written = write_part(fd, content.substr(0, half), path); !written) return written;
  return write_part(fd, content.substr(half), path);
}

Status write_synced(const std::string& path, const std::function<Status(const Sink&)>& produce, mode_t mode) {
  UniqueFd out(failpoint::fails("write.open", path)
                   ? -1
                   : ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!out) return errno_error(errno, "HWS-FS-001", "can't create " + path, kMakeRoom);
  if (failpoint::fails("write.mode", path) || ::fchmod(out.get(), mode) != 0)
    return errno_error(errno, "HWS-FS-001", "can't set the mode of " + path);
  const Sink sink = [&](std::string_view content) { return write_all(out.get(), content, path); };
  if (auto written = produce(sink); !written) return written;
  if (failpoint::fails("write.sync", path) || ::fsync(out.get()) != 0)
    return errno_error(errno, "HWS-FS-001", "can't sync " + path, kMakeRoom);
  return {};
}

Status rename_over(const std::string& from, const std::string& to) {
  if (failpoint::fails("rename", to) || ::rename(from.c_str(), to.c_str()) != 0)
    return errno_error(errno, "HWS-FS-001", "can't rename to " + to);
  return {};
}

}  // namespace

Status sync_folder(const std::string& path) {
  UniqueFd folder(failpoint::fails("folder.sync", path) ? -1
                                                        : ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return errno_error(errno, "HWS-FS-001", "can't sync folder " + path);
  // The step after this one is the caller's; a crash right here is the one after which nothing may be lost.
  if (failpoint::fails("folder.synced", path)) return errno_error(errno, "HWS-FS-001", "can't sync folder " + path);
  return {};
}

Status write_atomic(const std::string& path, std::string_view content, mode_t mode) {
  return write_atomic(
      path, [content](const Sink& sink) { return sink(content); }, mode);
}

Status write_atomic(const std::string& path, const std::function<Status(const Sink&)>& produce, mode_t mode) {
  const std::string aside = path + ".new";
  ::unlink(aside.c_str());  // what a crash left
  auto written = write_synced(aside, produce, mode);
  if (written) written = rename_over(aside, path);
  if (!written) {
    ::unlink(aside.c_str());
    return written;
  }
  return sync_folder(folder_of(path));
}

Status link_atomic(const std::string& target, const std::string& path) {
  const std::string aside = path + ".new";
  ::unlink(aside.c_str());
  if (failpoint::fails("link.make", aside) || ::symlink(target.c_str(), aside.c_str()) != 0)
    return errno_error(errno, "HWS-FS-001", "can't make " + aside, kMakeRoom);
  if (auto renamed = rename_over(aside, path); !renamed) {
    ::unlink(aside.c_str());
    return renamed;
  }
  return sync_folder(folder_of(path));
}

Result<std::string> read_bounded(const std::string& path, std::size_t limit) {
  UniqueFd in(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return errno_error(errno, "HWS-FS-002", "can't read " + path);
  std::string content;
  char chunk[16384];
  for (;;) {
    const ssize_t n = ::read(in.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "HWS-FS-002", "can't read " + path);
    if (n == 0) return content;
    content.append(chunk, static_cast<std::size_t>(n));
    if (content.size() > limit)
      return Error(Code::kResourceExhausted, "HWS-FS-003", path + " is larger than " + std::to_string(limit) + " bytes",
                   "check that this is the right file");
  }
}

Status remove_durable(const std::string& path) {
  if (failpoint::fails("remove", path) || ::unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return {};
    return errno_error(errno, "HWS-FS-001", "can't remove " + path);
  }
  return sync_folder(folder_of(path));
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

}  // namespace hawser::file
