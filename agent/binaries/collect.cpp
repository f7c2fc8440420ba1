// SPDX-License-Identifier: Apache-2.0
#include "binaries/collect.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "hawser/broker.pb.h"

namespace hawser::binaries {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kMaxRecord = 1U << 20U;

Error unknown_use(const std::string& path) {
  return {Code::kInternal, "HWS-CLI-003", "can't tell which binaries are in use: " + path + " can't be read",
          "check the disk; nothing was removed"};
}

Status add_generations(const std::string& folder, std::set<std::string>& out) {
  std::error_code error;
  fs::directory_iterator at(folder, error);
  // Nothing was ever started.
  if (error == std::errc::no_such_file_or_directory) return {};
  for (const fs::directory_iterator end; !error && at != end; at.increment(error)) {
    if (at->path().extension() != ".json") continue;
    const auto text = file::read_bounded(at->path().string(), kMaxRecord);
    // Reaped while we looked.
    if (!text && !file::exists(at->path().string())) continue;
    const json record = json::parse(text ? *text : "", nullptr, false);
    const auto digest = json::json_pointer("/spec/binary_sha256");
    if (!record.is_object() || !record.contains(digest) || !record[digest].is_string())
      return unknown_use(at->path().string());
    out.insert(record[digest].get<std::string>());
  }
  if (error) return unknown_use(folder);
  return {};
}

Status add_guardians(const std::string& path, std::set<std::string>& out) {
  if (!file::exists(path)) return {};
  const auto bytes = file::read_bounded(path, kMaxRecord);
  broker::v1::LastGood record;
  if (!bytes || !record.ParseFromString(*bytes)) return unknown_use(path);
  out.insert(record.binary_sha256());
  return {};
}

fs::file_time_type installed_at(const proxy::BinaryFolder& store, const std::string& sha256) {
  std::error_code error;
  const auto at = fs::last_write_time(store.program_of(sha256), error);
  return error ? fs::file_time_type::min() : at;
}

Result<Removed> remove(const proxy::BinaryFolder& store, const std::string& sha256) {
  std::error_code error;
  Removed out{sha256, fs::file_size(store.program_of(sha256), error)};
  // The program first: without it, the rest is nothing.
  if (auto gone = file::remove_durable(store.program_of(sha256)); !gone) return gone.error();
  if (store.quarantine(sha256)) {
    if (auto gone = file::remove_durable(store.folder_of(sha256) + "/binary.json"); !gone) return gone.error();
    return out;
  }
  fs::remove_all(store.folder_of(sha256), error);
  if (error)
    return Error(Code::kInternal, "HWS-CLI-003", "can't remove " + store.folder_of(sha256) + ": " + error.message(),
                 "remove it by hand");
  return out;
}

}  // namespace

Result<UniqueFd> lock(const proxy::BinaryFolder& store) {
  UniqueFd fd(::open(store.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd)
    return errno_error(errno, "HWS-CLI-003", "can't open " + store.path(), "create it with systemd-tmpfiles --create");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return Error(Code::kUnavailable, "HWS-CLI-047", "another command changes the store of proxy binaries",
                 "try again when it is done");
  return fd;
}

Result<std::set<std::string>> in_use(const proxy::BinaryFolder& store, const std::string& proxy_dir) {
  std::set<std::string> out;
  for (const auto link : {proxy::BinaryLink::kCurrent, proxy::BinaryLink::kPrevious, proxy::BinaryLink::kLastGood})
    out.insert(store.target(link));
  if (auto added = add_generations(proxy_dir + "/run", out); !added) return added.error();
  if (auto added = add_guardians(proxy_dir + "/last_good.pb", out); !added) return added.error();
  out.erase("");
  return out;
}

Result<std::vector<Removed>> collect(const proxy::BinaryFolder& store, const std::string& proxy_dir, std::size_t keep) {
  auto used = in_use(store, proxy_dir);
  if (!used) return used.error();
  const auto all = store.list();
  std::vector<std::string> idle;
  std::copy_if(all.begin(), all.end(), std::back_inserter(idle),
               [&](const std::string& sha256) { return used->count(sha256) == 0; });
  std::sort(idle.begin(), idle.end(), [&](const std::string& a, const std::string& b) {
    return installed_at(store, a) < installed_at(store, b);
  });
  std::vector<Removed> out;
  for (const std::string& sha256 : idle) {
    if (all.size() - out.size() <= keep) break;
    auto gone = remove(store, sha256);
    if (!gone) return gone.error();
    out.push_back(*gone);
  }
  return out;
}

}  // namespace hawser::binaries
