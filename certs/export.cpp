// SPDX-License-Identifier: Apache-2.0
#include "certs/export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "base/file.h"
#include "certs/secret.h"

namespace hawser::certs {
namespace {

constexpr char kData[] = "..data";
constexpr std::size_t kMaxFile = 1 << 20;

struct File {
  std::string name;
  std::string_view content;
  bool secret = false;
};

Error cant_write(const std::string& to, const Error& cause) {
  Error out(cause.code(), "HWS-XP-001", "can't write certificates to " + to,
            "make the folder writable for hawserd: tmpfiles.d for its owner, ReadWritePaths= in hawser.service.d");
  out.because(cause);
  return out;
}

Error in_the_way(const std::string& path) {
  return {Code::kAlreadyExists, "HWS-XP-003", path + " is there, and isn't Hawser's",
          "move it away, or export to another folder"};
}

std::string_view first_of(std::string_view pem) {
  constexpr std::string_view kEnd = "-----END CERTIFICATE-----\n";
  const auto end = pem.find(kEnd);
  return end == std::string_view::npos ? pem : pem.substr(0, end + kEnd.size());
}

std::vector<File> files_of(ExportLayout layout, const ExportSet& set) {
  const auto names = names_of(layout);
  std::vector<File> out = {{names[0], set.key_pem, true}};
  if (layout == ExportLayout::kPem) out.push_back({names[1], first_of(set.chain_pem)});
  const std::size_t rest = out.size();
  out.push_back({names[rest], set.chain_pem});
  out.push_back({names[rest + 1], set.roots_pem});
  return out;
}

std::string link_at(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
  return length > 0 ? std::string(target, static_cast<std::size_t>(length)) : std::string();
}

bool anything_at(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

// ..2026_11_29_06_19_40.123456789
std::string stamp_of(Loop::Wall now) {
  const auto since = now.time_since_epoch();
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(since).count();
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char day[64], out[96];
  std::strftime(day, sizeof day, "..%Y_%m_%d_%H_%M_%S", &utc);
  std::snprintf(out, sizeof out, "%s.%09lld", day, static_cast<long long>(since.count() % 1'000'000'000));
  return out;
}

bool is_stamp(const std::string& name) {
  return name.size() == 31 && name.rfind("..", 0) == 0 &&
         name.find_first_not_of("0123456789_.", 2) == std::string::npos;
}

std::vector<std::string> stamps_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->is_directory(error) && !it->is_symlink(error) && is_stamp(it->path().filename().string()))
      out.push_back(it->path().filename().string());
  return out;
}

Status remove_stamps(const std::string& folder, const std::vector<std::string>& but) {
  for (const auto& name : stamps_in(folder)) {
    std::error_code error;
    if (std::find(but.begin(), but.end(), name) == but.end()) std::filesystem::remove_all(folder + "/" + name, error);
    if (error)
      return Error(Code::kInternal, "HWS-FS-001", "can't remove " + folder + "/" + name + ": " + error.message());
  }
  return {};
}

mode_t mode_of(const File& file, const ExportTarget& target) {
  if (!file.secret) return 0644;
  return target.group ? 0640 : 0600;
}

// In a setgid folder the group is right already.
Status give(const ExportTarget& target, const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return errno_error(errno, "HWS-FS-001", "can't look at " + path);
  const uid_t owner = target.owner.value_or(info.st_uid);
  const gid_t group = target.group.value_or(info.st_gid);
  if (owner == info.st_uid && group == info.st_gid) return {};
  if (::lchown(path.c_str(), owner, group) == 0) return {};
  return errno_error(
      errno, "HWS-XP-002", "can't give " + path + " to its owner or group",
      "make the folder that group's, and setgid (chgrp GROUP DIR; chmod g+s DIR); hawserd may not give files away");
}

Status make_folder(const ExportTarget& target) {
  struct stat info {};
  if (::stat(target.to.c_str(), &info) == 0) return S_ISDIR(info.st_mode) ? Status() : Status(in_the_way(target.to));
  if (::mkdir(target.to.c_str(), 0755) != 0) return errno_error(errno, "HWS-FS-001", "can't make " + target.to);
  return give(target, target.to);
}

// A key that somebody else keeps there must not be lost.
Status names_are_free(const std::string& to, const std::vector<File>& files) {
  if (anything_at(to + "/" + kData) && !is_stamp(link_at(to + "/" + kData))) return in_the_way(to + "/" + kData);
  for (const auto& file : files) {
    const std::string path = to + "/" + file.name;
    if (anything_at(path) && link_at(path) != std::string(kData) + "/" + file.name) return in_the_way(path);
  }
  return {};
}

bool is_in_force(const ExportTarget& target, const std::vector<File>& files) {
  for (const auto& file : files) {
    const std::string path = target.to + "/" + file.name;
    struct stat info {};
    if (link_at(path).empty() || ::stat(path.c_str(), &info) != 0) return false;
    if ((info.st_mode & 07777U) != mode_of(file, target)) return false;
    if (info.st_gid != target.group.value_or(info.st_gid) || info.st_uid != target.owner.value_or(info.st_uid))
      return false;
    auto content = file::read_bounded(path, kMaxFile);
    const bool same = content && *content == file.content;
    if (content) wipe(*content);
    if (!same) return false;
  }
  return true;
}

Status fill(const std::string& folder, const ExportTarget& target, const std::vector<File>& files) {
  if (::mkdir(folder.c_str(), 0755) != 0) return errno_error(errno, "HWS-FS-001", "can't make " + folder);
  for (const auto& file : files) {
    const std::string path = folder + "/" + file.name;
    // Nobody else's until it is whole and has its group: then its mode lets them in.
    if (auto written = file::write_atomic(path, file.content, file.secret ? 0600 : 0644); !written) return written;
    if (auto given = give(target, path); !given) return given;
    if (::chmod(path.c_str(), mode_of(file, target)) != 0)
      return errno_error(errno, "HWS-FS-001", "can't set the mode of " + path);
  }
  if (auto given = give(target, folder); !given) return given;
  // Last, whatever the umask: as long as it is setgid, what is made in it gets its group.
  if (::chmod(folder.c_str(), 0755) != 0) return errno_error(errno, "HWS-FS-001", "can't set the mode of " + folder);
  return file::sync_folder(folder);
}

bool is_among(const std::string& name, const std::vector<File>& files) {
  return std::any_of(files.begin(), files.end(), [&](const File& file) { return file.name == name; });
}

// Of layouts that were exported there before, or all.
Status remove_links(const std::string& to, const std::vector<File>& but) {
  Status out;
  for (const auto layout : {ExportLayout::kIstio, ExportLayout::kSpiffe, ExportLayout::kPem}) {
    for (const auto& name : names_of(layout)) {
      const std::string path = to + "/" + name;
      if (is_among(name, but) || link_at(path) != std::string(kData) + "/" + name) continue;
      if (auto removed = file::remove_durable(path); !removed && out) out = removed;
    }
  }
  return out;
}

Status put_in_force(const std::string& to, const std::string& stamp, const std::vector<File>& files) {
  if (auto synced = file::sync_folder(to); !synced) return synced;
  if (auto linked = file::link_atomic(stamp, to + "/" + kData); !linked) return linked;
  for (const auto& file : files) {
    const std::string target = std::string(kData) + "/" + file.name;
    if (link_at(to + "/" + file.name) == target) continue;
    if (auto linked = file::link_atomic(target, to + "/" + file.name); !linked) return linked;
  }
  return remove_links(to, files);
}

Status as_export(const ExportTarget& target, const Status& status) {
  if (status || status.error().id() != "HWS-FS-001") return status;
  return cant_write(target.to, status.error());
}

}  // namespace

std::vector<std::string> names_of(ExportLayout layout) {
  switch (layout) {
    case ExportLayout::kIstio:
      return {"key.pem", "cert-chain.pem", "root-cert.pem"};
    case ExportLayout::kSpiffe:
      return {"private_key.pem", "certificates.pem", "ca_certificates.pem"};
    case ExportLayout::kPem:
      break;
  }
  return {"key.pem", "cert.pem", "chain.pem", "ca.pem"};
}

Status write_export(const ExportTarget& target, const ExportSet& set, Loop::Wall now) {
  const auto files = files_of(target.layout, set);
  if (auto made = make_folder(target); !made) return as_export(target, made);
  if (auto free = names_are_free(target.to, files); !free) return free;
  if (is_in_force(target, files)) return {};
  const std::string before = link_at(target.to + "/" + kData);
  const std::string stamp = stamp_of(now);
  const std::string folder = target.to + "/" + stamp;
  auto written = fill(folder, target, files);
  if (written) written = put_in_force(target.to, stamp, files);
  if (link_at(target.to + "/" + kData) != stamp) {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  } else if (auto removed = remove_stamps(target.to, {stamp, before}); !removed && written) {
    written = removed;
  }
  return as_export(target, written);
}

Status sweep_export(const ExportTarget& target) {
  const std::string stamp = link_at(target.to + "/" + kData);
  if (!is_stamp(stamp)) return {};
  return as_export(target, remove_stamps(target.to, {stamp}));
}

Status remove_export(const ExportTarget& target) {
  if (!file::exists(target.to)) return {};
  Status out = remove_links(target.to, {});
  const std::string data = target.to + "/" + kData;
  if (is_stamp(link_at(data)))
    if (auto removed = file::remove_durable(data); !removed && out) out = removed;
  if (auto removed = remove_stamps(target.to, {}); !removed && out) out = removed;
  return as_export(target, out);
}

}  // namespace hawser::certs
