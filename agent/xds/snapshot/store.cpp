// SPDX-License-Identifier: Apache-2.0
#include "xds/snapshot/store.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <set>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "xds/snapshot/times.h"

namespace hawser::xds::snapshot {
namespace {

namespace fs = std::filesystem;

constexpr char kManifest[] = "manifest.pb";
constexpr char kSuffix[] = ".rec";
constexpr char kDamaged[] = ".damaged-";
constexpr std::size_t kMaxManifest = std::size_t{4} << 20;
constexpr std::size_t kMaxStem = 64;

// "Cluster.17.rec": the type for people, the number so that no name is ever used twice.
std::string file_name(const std::string& type_url, std::uint64_t sequence) {
  std::string stem = type_url.substr(type_url.find_last_of("./") + 1).substr(0, kMaxStem);
  for (char& c : stem) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!plain) c = '_';
  }
  return (stem.empty() ? "type" : stem) + "." + std::to_string(sequence) + kSuffix;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    out.push_back(at->path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

bool is_damaged(const std::string& name) {
  return name.find(kDamaged) != std::string::npos;
}

// What a crash or an earlier snapshot left, and what one is made of.
bool is_ours(const std::string& name) {
  return name == kManifest || name == "addresses.pb" || name.ends_with(kSuffix) || name.ends_with(".new") ||
         is_damaged(name);
}

Error disk_error(const Error& cause) {
  Error error(Code::kUnavailable, "HWS-SN-006", "the last-good snapshot can't be kept on disk",
              "check space and permissions of /var/lib/hawser/xds");
  return error.because(cause);
}

Error too_large_is_damaged(const Error& error) {
  return error.id() == "HWS-FS-003" ? Error(Code::kDataLoss, "HWS-SN-002", "it is larger than it was written") : error;
}

Status make_folder(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return errno_error(errno, "HWS-FS-001", "can't make " + folder);
}

}  // namespace

Store::Loaded Store::load() const {
  return load(true);
}

Store::Loaded Store::inspect() const {
  return load(false);
}

Store::Loaded Store::load(bool aside) const {
  Loaded out;
  if (!file::exists(path(kManifest))) return out;
  const auto note = [&](const std::string& name, const Error& error) {
    if (error.id() != "HWS-SN-002") {
      out.notes.push_back(disk_error(error));
    } else {
      out.notes.push_back(aside ? put_aside(name, error) : Error(error).at(path(name)));
    }
  };
  auto bytes = file::read_bounded(path(kManifest), kMaxManifest);
  auto manifest = bytes ? parse_manifest(*bytes) : Result<Manifest>(too_large_is_damaged(bytes.error()));
  if (!manifest) {
    note(kManifest, manifest.error());
    return out;
  }
  out.manifest = std::move(*manifest);
  std::erase_if(out.manifest->types, [&](const TypeFile& type) {
    auto read_type = read(type);
    if (read_type) {
      out.types.push_back(std::move(*read_type));
      return false;
    }
    out.lost.push_back(type.type_url);
    note(type.file, read_type.error());
    return true;
  });
  return out;
}

Result<records::Type> Store::read(const TypeFile& type) const {
  if (!file::exists(path(type.file)) && errno == ENOENT)
    return Error(Code::kDataLoss, "HWS-SN-002", "the file is missing");
  auto bytes = file::read_bounded(path(type.file), type.bytes);
  if (!bytes) return too_large_is_damaged(bytes.error());
  auto parsed = records::parse(*bytes);
  if (!parsed) return parsed.error();
  if (parsed->checksum != type.checksum || parsed->header.type_url != type.type_url)
    return Error(Code::kDataLoss, "HWS-SN-002", "it isn't the file that the manifest names");
  return parsed;
}

Error Store::put_aside(const std::string& name, const Error& why) const {
  const auto stamp = std::chrono::duration_cast<std::chrono::seconds>(clock_().time_since_epoch()).count();
  const std::string damaged = name + kDamaged + std::to_string(stamp);
  Error error(Code::kDataLoss, "HWS-SN-002", "a file of the last-good snapshot is damaged: " + why.message(),
              "look at the disk; the next snapshot takes its place by itself");
  error.at(path(name));
  if (::rename(path(name).c_str(), path(damaged).c_str()) != 0) return error;
  (void)file::sync_folder(folder_);
  std::vector<std::string> kept = names_in(folder_);
  std::erase_if(kept, [](const std::string& entry) { return !is_damaged(entry); });
  std::sort(kept.begin(), kept.end(), [](const std::string& a, const std::string& b) {
    return a.substr(a.rfind('-') + 1) < b.substr(b.rfind('-') + 1);
  });
  for (std::size_t i = 0; i + kMostDamaged < kept.size(); ++i) (void)file::remove_durable(path(kept[i]));
  return error.at(path(damaged));
}

Result<TypeFile> Store::write_type(const Change::Type& type, std::uint64_t sequence) const {
  const auto& header = type.header;
  const std::string name = file_name(header.type_url, sequence);
  records::Written built;
  const auto produce = [&](const file::Sink& sink) -> Status {
    auto written = records::write(header, type.items, sink);
    if (!written) return written.error();
    built = *written;
    return {};
  };
  if (auto written = file::write_atomic(path(name), produce, 0600); !written) return disk_error(written.error());
  return TypeFile{
      header.type_url,    name,           built.checksum, built.bytes, type.items.size(), header.system_version,
      header.accepted_at, header.wildcard};
}

Result<Manifest> Store::save(const Manifest& before, Manifest next, const Change& change) const {
  std::uint64_t total = 0;
  for (const auto& type : change.changed)
    for (const auto& item : type.items) total += item.name.size() + item.version.size() + item.body.size();
  next.types.clear();
  for (const auto& url : change.unchanged) {
    const TypeFile* kept = before.find(url);
    if (kept == nullptr)
      return Error(Code::kInternal, "HWS-SN-006", "the last-good snapshot has no " + url + " to keep");
    total += kept->bytes;
    next.types.push_back(*kept);
  }
  if (total > max_bytes_)
    return Error(Code::kResourceExhausted, "HWS-SN-005",
                 "the last-good snapshot isn't kept: it has " + std::to_string(total >> 20) + " MiB, more than " +
                     std::to_string(max_bytes_ >> 20),
                 "raise control_plane.snapshot.max_mib, or send this host less (a Sidecar resource)");
  if (auto made = make_folder(folder_); !made) return disk_error(made.error());
  next.sequence = before.sequence;
  for (const auto& type : change.changed) {
    auto written = write_type(type, ++next.sequence);
    if (!written) return written.error();
    next.types.push_back(std::move(*written));
  }
  if (auto written = file::write_atomic(path(kManifest), build_manifest(next), 0600); !written)
    return disk_error(written.error());
  sweep(next);
  return next;
}

// What the manifest doesn't name isn't needed any more, or was never finished. That it stays is no reason to fail.
void Store::sweep(const Manifest& manifest) const {
  std::set<std::string> named = {kManifest};
  for (const auto& type : manifest.types) named.insert(type.file);
  bool any = false;
  for (const auto& name : names_in(folder_)) {
    if (named.contains(name) || !(name.ends_with(kSuffix) || name.ends_with(std::string(kSuffix) + ".new"))) continue;
    if (failpoint::fails("drop", path(name)) || ::unlink(path(name).c_str()) != 0) continue;
    any = true;
  }
  if (any) (void)file::sync_folder(folder_);
}

Status Store::erase() const {
  // The manifest first: without it nothing is a snapshot.
  if (auto removed = file::remove_durable(path(kManifest)); !removed) return disk_error(removed.error());
  for (const auto& name : names_in(folder_))
    if (is_ours(name))
      if (auto removed = file::remove_durable(path(name)); !removed) return disk_error(removed.error());
  return {};
}

}  // namespace hawser::xds::snapshot
