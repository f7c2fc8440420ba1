// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/fd.h"

namespace hawser::file {
namespace {

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "HWS-FS-001", "can't write " + path, "free space or make the folder writable");
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

Status sync_folder(const std::string& path) {
  UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return errno_error(errno, "HWS-FS-001", "can't sync folder " + path);
  return {};
}

Status write_atomic(const std::string& path, std::string_view content, mode_t mode) {
  const std::string aside = path + ".new";
  ::unlink(aside.c_str());  // what a crash left
  {
    UniqueFd out(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!out)
      return errno_error(errno, "HWS-FS-001", "can't create " + aside, "free space or make the folder writable");
    if (::fchmod(out.get(), mode) != 0) return errno_error(errno, "HWS-FS-001", "can't set the mode of " + aside);
    if (auto written = write_all(out.get(), content, aside); !written) {
      ::unlink(aside.c_str());
      return written;
    }
    if (::fsync(out.get()) != 0) {
      const int err = errno;
      ::unlink(aside.c_str());
      return errno_error(err, "HWS-FS-001", "can't sync " + aside);
    }
  }
  if (::rename(aside.c_str(), path.c_str()) != 0) {
    const int err = errno;
    ::unlink(aside.c_str());
    return errno_error(err, "HWS-FS-001", "can't rename to " + path);
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
  if (::unlink(path.c_str()) != 0) {
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
