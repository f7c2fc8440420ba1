// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/binary_store.h"

#include <fcntl.h>
#include <sha2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <sstream>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kMaxMemory = 64U << 10U;
constexpr const char* kInstall = "install one with `hawser proxy install FILE`";

Error untrusted(const std::string& path, const std::string& why) {
  return {Code::kPermissionDenied, "HWS-BR-031", path + " " + why, "remove it, then " + std::string(kInstall)};
}

Error quarantined(const std::string& sha256, const Quarantine& why) {
  return {Code::kFailedPrecondition, "HWS-BR-027",
          "the proxy binary " + sha256.substr(0, 12) + " is quarantined: " + why.reason,
          "use another (hawser proxy list), or `hawser proxy allow " + sha256.substr(0, 12) + "`"};
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

Result<std::string> sha256_of(int fd, const std::string& path) {
  constexpr std::size_t kChunk = 1U << 20U;
  const auto buffer = std::make_unique<std::uint8_t[]>(kChunk);
  SHA2_CTX context;
  ::SHA256Init(&context);
  for (;;) {
    const ssize_t n = ::read(fd, buffer.get(), kChunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "HWS-BR-031", "can't read " + path);
    if (n == 0) break;
    ::SHA256Update(&context, buffer.get(), static_cast<std::size_t>(n));
  }
  char hex[SHA256_DIGEST_STRING_LENGTH] = {};
  ::SHA256End(&context, hex);
  return std::string(hex);
}

}  // namespace

BinaryStore::BinaryStore(std::string folder, uid_t owner, std::string memory)
    : folder_(std::move(folder)), owner_(owner), memory_(std::move(memory)) {
  load();
}

// What can't be read is hashed again.
void BinaryStore::load() {
  if (memory_.empty() || !file::exists(memory_)) return;
  const auto content = file::read_bounded(memory_, kMaxMemory);
  if (!content) return;
  std::istringstream lines(*content);
  std::string digest;
  Seen seen;
  while (lines >> digest >> seen.device >> seen.inode >> seen.size >> seen.modified_ns >> seen.changed_ns)
    verified_[digest] = seen;
}

void BinaryStore::save() const {
  if (memory_.empty()) return;
  std::ostringstream lines;
  for (const auto& [digest, seen] : verified_)
    lines << digest << ' ' << seen.device << ' ' << seen.inode << ' ' << seen.size << ' ' << seen.modified_ns << ' '
          << seen.changed_ns << '\n';
  if (auto saved = file::write_atomic(memory_, lines.str(), 0600); !saved) log::warn(saved.error().to_string());
}

Status BinaryStore::forget() {
  verified_.clear();
  return memory_.empty() ? Status() : file::remove_durable(memory_);
}

Result<std::string> BinaryStore::current() const {
  const std::string link = folder_.path() + "/current";
  struct stat info {};
  if (::lstat(link.c_str(), &info) != 0)
    return Error(Code::kFailedPrecondition, "HWS-BR-030", "no proxy binary is installed in " + folder_.path(),
                 kInstall);
  std::string name = folder_.target(BinaryLink::kCurrent);
  if (name.empty()) return untrusted(link, "doesn't point at a binary of the store");
  return name;
}

Status BinaryStore::quarantine(const std::string& sha256, const std::string& reason, std::int64_t now) {
  if (folder_.quarantine(sha256)) return {};
  if (folder_.has(sha256) && folder_.target(BinaryLink::kCurrent) == sha256) {
    const std::string good = folder_.target(BinaryLink::kLastGood);
    if (good.empty() || good == sha256 || !folder_.has(good) || folder_.quarantine(good))
      return Error(Code::kFailedPrecondition, "HWS-BR-028",
                   "the current proxy binary stays in use: there is no other that was good",
                   "install another one: `hawser proxy install FILE`");
    // First, so that a crash in between leaves something that may be started.
    if (auto pointed = folder_.point(BinaryLink::kCurrent, good); !pointed) return pointed;
  }
  return folder_.set_quarantine(sha256, {reason, now, "hawserd"});
}

Status BinaryStore::mark_good(const std::string& sha256) {
  if (const auto why = folder_.quarantine(sha256)) return quarantined(sha256, *why);
  return folder_.point(BinaryLink::kLastGood, sha256);
}

Status BinaryStore::check_folder(const std::string& path) const {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0)
    return Error(Code::kNotFound, "HWS-BR-030", "no such proxy binary: " + path, kInstall);
  if (!S_ISDIR(info.st_mode)) return untrusted(path, "isn't a folder");
  if (info.st_uid != owner_ || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return untrusted(path, "may be changed by others");
  return {};
}

Result<Binary> BinaryStore::resolve(const std::string& sha256) {
  std::string name = sha256;
  if (name.empty()) {
    auto link = current();
    if (!link) return link.error();
    name = *link;
  }
  if (!is_sha256(name))
    return Error(Code::kInvalidArgument, "HWS-BR-030", "\"" + name + "\" is no SHA-256 in lower-case hex", kInstall);
  for (const std::string& folder : {folder_.path(), folder_.folder_of(name)})
    if (auto safe = check_folder(folder); !safe) return safe.error();
  if (const auto why = folder_.quarantine(name)) return quarantined(name, *why);
  const std::string path = folder_.program_of(name);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return Error(Code::kNotFound, "HWS-BR-030", "no such proxy binary: " + path, kInstall);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return errno_error(errno, "HWS-BR-031", "can't examine " + path);
  if (!S_ISREG(info.st_mode) || (info.st_mode & S_IXOTH) == 0)
    return untrusted(path, "isn't a program that everybody may run");
  if (info.st_uid != owner_ || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return untrusted(path, "may be changed by others");
  const Seen seen{info.st_dev, info.st_ino, info.st_size, nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)};
  if (const auto known = verified_.find(name); known != verified_.end() && known->second == seen)
    return Binary{path, name};
  auto digest = sha256_of(fd.get(), path);
  if (!digest) return digest.error();
  if (*digest != name)
    return Error(Code::kDataLoss, "HWS-BR-032", path + " isn't what it was installed as: its digest is " + *digest,
                 "remove the folder, then " + std::string(kInstall));
  verified_[name] = seen;
  save();
  return Binary{path, name};
}

}  // namespace hawser::proxy
