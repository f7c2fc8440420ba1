// SPDX-License-Identifier: Apache-2.0
#include "certs/key_store_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "certs/utc.h"
#include "certs/x509.h"

namespace hawser::certs::generation {
namespace {

constexpr std::size_t kMaxFile = 1 << 20;
constexpr int kSchema = 2;
constexpr int kOldestReader = 1;  // that can make use of what we write
constexpr char kKey[] = "key.pem";
constexpr char kChain[] = "cert-chain.pem";
constexpr char kRoots[] = "roots.pem";
constexpr char kMeta[] = "meta.json";

Error damaged(const std::string& why) {
  return {Code::kDataLoss, "HWS-ID-004", why,
          "nothing: a new certificate is asked for; look at the disk if it happens again"};
}

std::string meta_of(const ToStore& what) {
  const Identity& identity = *what.identity;
  nlohmann::json meta = {
      {"schema_version", kSchema},
      {"min_reader", kOldestReader},
      {"spiffe_id", identity.spiffe_id},
      {"serial", identity.serial},
      {"not_after", utc_text(identity.not_after)},
      {"machine", {{"id", what.machine.id}, {"instance", what.machine.instance}, {"boot", what.machine.boot}}},
      {"sha256",
       {{kKey, sha256_hex(identity.key_pem.reveal())},
        {kChain, sha256_hex(identity.chain_pem)},
        {kRoots, sha256_hex(identity.roots_pem)}}}};
  if (what.renewal) meta["renewal"] = unix_seconds(*what.renewal);
  return meta.dump(2) + "\n";
}

Status repair_mode(int fd, const std::string& path, std::vector<Error>& notes) {
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return damaged(path + " is no file");
  if ((info.st_mode & 0177U) == 0) return {};
  const bool repaired = ::fchmod(fd, 0600) == 0;
  notes.emplace_back(Code::kFailedPrecondition, "HWS-ID-003",
                     path + (repaired ? " was readable by others; its mode is 0600 now" : " is readable by others"),
                     "find out who changed it; hawser cert renew makes a new key");
  return {};
}

// A file that is missing or is something else is damage; everything else may pass.
Error unreadable(int err, const std::string& path) {
  const Error error =
      errno_error(err, "HWS-ID-023", "can't read " + path, "free what ran out, or make it readable for hawserd's user");
  return err == ENOENT || err == ENOTDIR || err == ELOOP || err == EISDIR ? damaged(error.message()) : error;
}

Result<std::string> read_file(const std::string& path, std::vector<Error>& notes) {
  UniqueFd fd(failpoint::fails("read.open", path) ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return unreadable(errno, path);
  if (auto mode = repair_mode(fd.get(), path, notes); !mode) return mode.error();
  auto content = file::read_bounded(path, kMaxFile);
  if (content || content.error().id() == "HWS-FS-003") {
    if (!content) return damaged(content.error().message());
    return content;
  }
  return Error(content.error().code(), "HWS-ID-023", content.error().message(), content.error().hint());
}

bool digest_matches(const nlohmann::json& meta, const char* name, std::string_view content) {
  const auto digest = meta["sha256"].find(name);
  return digest != meta["sha256"].end() && digest->is_string() && digest->get<std::string>() == sha256_hex(content);
}

std::string text_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Machine machine_in(const nlohmann::json& meta) {
  const auto found = meta.find("machine");
  if (found == meta.end() || !found->is_object()) return {};
  return {text_in(*found, "id"), text_in(*found, "instance"), text_in(*found, "boot")};
}

std::optional<Loop::Wall> renewal_in(const nlohmann::json& meta) {
  const auto found = meta.find("renewal");
  if (found == meta.end() || !found->is_number_integer()) return std::nullopt;
  return wall_of(found->get<std::int64_t>());
}

int number_in(const nlohmann::json& meta, const char* key, int otherwise) {
  const auto found = meta.find(key);
  return found != meta.end() && found->is_number_integer() ? found->get<int>() : otherwise;
}

// Written by a version whose files we can use?
Status check_schema(const nlohmann::json& meta, const std::string& path) {
  const int schema = number_in(meta, "schema_version", 0);
  if (schema < 1) return damaged(path + " isn't what was written");
  if (schema > kSchema && number_in(meta, "min_reader", schema) > kSchema)
    return damaged(path + " was written by a newer Hawser (format " + std::to_string(schema) + ")");
  return {};
}

}  // namespace

std::string name_of(std::uint64_t number) {
  return "gen-" + std::to_string(number);
}

std::optional<std::uint64_t> number_of(const std::string& name, const std::string& prefix) {
  if (name.rfind(prefix, 0) != 0) return std::nullopt;
  std::uint64_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

std::vector<std::uint64_t> list(const std::string& folder, const std::string& prefix) {
  std::vector<std::uint64_t> out;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (auto number = number_of(it->path().filename().string(), prefix)) out.push_back(*number);
  std::sort(out.rbegin(), out.rend());
  return out;
}

Status write(const std::string& path, const ToStore& what) {
  if (failpoint::fails("generation.make", path) || ::mkdir(path.c_str(), 0700) != 0)
    return errno_error(errno, "HWS-ID-005", "can't make " + path,
                       "free space, or make the folder writable for hawserd's user");
  const std::array<std::pair<const char*, std::string_view>, 3> files = {{{kKey, what.identity->key_pem.reveal()},
                                                                          {kChain, what.identity->chain_pem},
                                                                          {kRoots, what.identity->roots_pem}}};
  for (const auto& [name, content] : files)
    if (auto written = file::write_atomic(path + "/" + name, content, 0600); !written) return written;
  return file::write_atomic(path + "/" + kMeta, meta_of(what), 0600);
}

Result<Stored> read(const std::string& path, std::vector<Error>& notes) {
  auto key = read_file(path + "/" + kKey, notes);
  if (!key) return key.error();
  Secret secret(std::move(*key));
  auto chain = read_file(path + "/" + kChain, notes);
  if (!chain) return chain.error();
  auto roots = read_file(path + "/" + kRoots, notes);
  if (!roots) return roots.error();
  auto meta_text = read_file(path + "/" + kMeta, notes);
  if (!meta_text) return meta_text.error();
  const auto meta = nlohmann::json::parse(*meta_text, nullptr, false);
  if (!meta.is_object() || !meta.contains("sha256") || !meta["sha256"].is_object())
    return damaged(path + "/" + kMeta + " isn't what was written");
  if (auto schema = check_schema(meta, path + "/" + kMeta); !schema) return schema.error();
  if (!digest_matches(meta, kKey, secret.reveal()) || !digest_matches(meta, kChain, *chain) ||
      !digest_matches(meta, kRoots, *roots))
    return damaged("a file in " + path + " changed after it was written");
  auto identity = make_identity(std::move(secret), *chain, *roots);
  if (!identity) {
    Error error = damaged("the identity in " + path + " is not usable");
    error.because(identity.error());
    return error;
  }
  return Stored{std::move(*identity), machine_in(meta), renewal_in(meta)};
}

}  // namespace hawser::certs::generation
