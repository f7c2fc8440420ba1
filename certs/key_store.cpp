// SPDX-License-Identifier: Apache-2.0
#include "certs/key_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <filesystem>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "certs/key_store_files.h"

namespace hawser::certs {
namespace {

constexpr char kGeneration[] = "gen-";
constexpr char kDamaged[] = "damaged-";
constexpr std::size_t kDamagedKept = 3;

// What failed below, as the operator of an identity sees it.
Error write_error(const std::string& folder, const Error& cause) {
  Error error(cause.code(), "HWS-ID-005", "can't save the identity in " + folder,
              "free space, or make the folder writable for hawserd's user");
  error.because(cause);
  return error;
}

}  // namespace

struct KeyStore::Folder {
  std::string path;
  Machine here;
  UniqueFd lock;
  std::vector<Error> notes;  // of open(), told by load()

  std::string at(const std::string& name) const { return path + "/" + name; }

  // The number that `current` points to.
  std::optional<std::uint64_t> current() const {
    char target[PATH_MAX];
    const ssize_t length = ::readlink(at("current").c_str(), target, sizeof target);
    if (length <= 0) return std::nullopt;
    return generation::number_of(std::string(target, static_cast<std::size_t>(length)), kGeneration);
  }

  Status point_to(std::uint64_t number) const { return file::link_atomic(generation::name_of(number), at("current")); }

  Status drop(const std::string& name) const {
    std::error_code error;
    if (failpoint::fails("drop", name))
      error.assign(errno, std::generic_category());
    else
      std::filesystem::remove_all(at(name), error);
    if (!error) return {};
    return Error(Code::kInternal, "HWS-ID-005", "can't remove " + at(name) + ": " + error.message());
  }

  // The copies are kept for whoever looks into it, but not without end: each holds a key.
  void put_aside(std::uint64_t number) const {
    const auto earlier = generation::list(path, kDamaged);
    const std::uint64_t next = earlier.empty() ? 1 : earlier.front() + 1;
    const std::string from = at(generation::name_of(number));
    if (failpoint::fails("put-aside", from) || ::rename(from.c_str(), at(kDamaged + std::to_string(next)).c_str()) != 0)
      (void)drop(generation::name_of(number));
    for (std::size_t i = kDamagedKept - 1; i < earlier.size(); ++i) (void)drop(kDamaged + std::to_string(earlier[i]));
    (void)file::sync_folder(path);
  }

  // The link goes first: what is left after a crash was then never in force.
  Error drop_anothers(const std::string& spiffe_id) const {
    Status dropped = file::remove_durable(at("current"));
    for (const char* prefix : {kGeneration, kDamaged})
      for (const std::uint64_t number : generation::list(path, prefix))
        if (auto status = drop(prefix + std::to_string(number)); !status && dropped) dropped = status;
    Error out(
        Code::kFailedPrecondition, "HWS-ID-013",
        "this machine is a copy of the one that " + spiffe_id + " was given to; its key and certificate were removed",
        "none, a certificate of its own is asked for; where the token is no longer good, join again");
    if (!dropped) out.because(dropped.error());
    return out;
  }
};

Result<KeyStore> KeyStore::open(const std::string& folder, Machine here) {
  constexpr char kFix[] = "systemd-tmpfiles --create, or make it for hawserd's user with mode 0700";
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return errno_error(errno, "HWS-ID-002", "can't make " + folder, kFix);
  auto out = std::make_shared<Folder>();
  out->path = folder;
  out->here = std::move(here);
  out->lock = UniqueFd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!out->lock) return errno_error(errno, "HWS-ID-002", "can't open " + folder, kFix);
  if (::flock(out->lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, "HWS-ID-002", "can't lock " + folder, kFix);
    return Error(Code::kAlreadyExists, "HWS-ID-001", "another hawserd uses this state folder: " + folder,
                 "stop the other one first");
  }
  struct stat info {};
  if (::fstat(out->lock.get(), &info) != 0) return errno_error(errno, "HWS-ID-002", "can't look at " + folder, kFix);
  if ((info.st_mode & 0077U) != 0) {
    if (::fchmod(out->lock.get(), 0700) != 0)
      return errno_error(errno, "HWS-ID-002", folder + " is open to others and can't be closed", kFix);
    out->notes.emplace_back(Code::kFailedPrecondition, "HWS-ID-003",
                            folder + " was open to others; its mode is 0700 now",
                            "find out who changed it; hawser cert renew makes a new key");
  }
  return KeyStore(std::move(out));
}

KeyStore::Loaded KeyStore::load() const {
  Loaded out;
  out.notes = folder_->notes;
  const auto current = folder_->current();
  // Without the link nothing was ever put in force: what is there is the rest of a crash during the first store().
  if (!current) return out;
  for (const std::uint64_t number : generation::list(folder_->path, kGeneration)) {
    if (number > *current) continue;  // written, but never put in force
    auto stored = generation::read(folder_->at(generation::name_of(number)), out.notes);
    if (stored && !are_same(stored->machine, folder_->here)) {
      out.notes.push_back(folder_->drop_anothers(stored->identity->spiffe_id));
      return out;
    }
    if (stored) {
      if (number != *current) (void)folder_->point_to(number);
      out.identity = std::move(stored->identity);
      out.renewal = stored->renewal;
      out.this_boot = !folder_->here.boot.empty() && stored->machine.boot == folder_->here.boot;
      return out;
    }
    out.notes.push_back(stored.error());
    // Neither descriptors that ran out nor a disk that doesn't answer say anything about the files.
    if (stored.error().code() != Code::kDataLoss) return out;
    folder_->put_aside(number);
  }
  (void)file::remove_durable(folder_->at("current"));
  if (out.notes.size() == folder_->notes.size())
    out.notes.emplace_back(Code::kDataLoss, "HWS-ID-004", "the stored identity is gone from " + folder_->path);
  return out;
}

Status KeyStore::store(const Identity& identity, std::optional<Loop::Wall> renewal) const {
  const auto before = folder_->current();
  const auto existing = generation::list(folder_->path, kGeneration);
  const std::uint64_t number = std::max(existing.empty() ? 0 : existing.front(), before.value_or(0)) + 1;
  auto written = generation::write(folder_->at(generation::name_of(number)), {&identity, folder_->here, renewal});
  // The folder's own name has to be on the disk before the link that leads to it.
  if (written) written = file::sync_folder(folder_->path);
  if (written) written = folder_->point_to(number);
  if (!written) {
    if (folder_->current() != number) (void)folder_->drop(generation::name_of(number));
    return write_error(folder_->path, written.error());
  }
  for (const std::uint64_t old : existing)
    if (old != before) (void)folder_->drop(generation::name_of(old));
  return {};
}

Status KeyStore::store_token(std::string_view token) const {
  return file::write_atomic(token_path(), token, 0600);
}

std::string KeyStore::token_path() const {
  return folder_->at("token");
}

Status KeyStore::erase() const {
  std::vector<std::string> names = {"current", "current.new", "token", "token.new"};
  for (const char* prefix : {kGeneration, kDamaged})
    for (const std::uint64_t number : generation::list(folder_->path, prefix))
      names.push_back(prefix + std::to_string(number));
  Status out;
  for (const auto& name : names)
    if (auto dropped = folder_->drop(name); !dropped && out) out = dropped;
  if (auto synced = file::sync_folder(folder_->path); !synced && out) out = synced;
  return out;
}

}  // namespace hawser::certs
