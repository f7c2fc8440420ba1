// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/binary_store.h"

#include <fcntl.h>
#include <sha2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <sstream>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kMaxMemory = 64U << 10U;
constexpr const char* kProgram = "envoy";
constexpr const char* kInstall = "install one with `hawser proxy install FILE`";

bool is_digest(const std::string& text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Error untrusted(const std::string& path, const std::string& why) {
  return {Code::kPermissionDenied, "HWS-BR-031", path + " " + why, "remove it, then " + std::string(kInstall)};
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
  char target[256] = {};
  const std::string link = folder_ + "/current";
  const ssize_t n = ::readlink(link.c_str(), target, sizeof target - 1);
  if (n < 0)
    return Error(Code::kFailedPrecondition, "HWS-BR-030", "no proxy binary is installed in " + folder_, kInstall);
  std::string name(target, static_cast<std::size_t>(n));
  // Only the name counts: a link to elsewhere is no way out of the store.
  if (const auto slash = name.rfind('/'); slash != std::string::npos) name.erase(0, slash + 1);
  if (!is_digest(name)) return untrusted(link, "doesn't point at a binary of the store");
  return name;
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
  if (!is_digest(name))
    return Error(Code::kInvalidArgument, "HWS-BR-030", "\"" + name + "\" is no SHA-256 in lower-case hex", kInstall);
  for (const std::string& folder : {folder_, folder_ + "/" + name})
    if (auto safe = check_folder(folder); !safe) return safe.error();
  const std::string path = folder_ + "/" + name + "/" + kProgram;
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
