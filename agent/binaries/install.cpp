// SPDX-License-Identifier: Apache-2.0
#include "binaries/install.h"

#include <sha2.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/file.h"
#include "binaries/archive.h"

namespace hawser::binaries {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using proxy::BinaryFolder;
using proxy::BinaryLink;

constexpr std::size_t kShort = 12;
constexpr std::size_t kShortest = 6;
constexpr const char* kStoreHint = "check space and permissions of /var/lib/hawser/proxy/bin";

Error store_error(const std::string& what, const std::error_code& error) {
  return {Code::kInternal, "HWS-CLI-003", what + ": " + error.message(), kStoreHint};
}

bool is_url(const std::string& source) {
  return source.rfind("https://", 0) == 0 || source.rfind("http://", 0) == 0;
}

// What a URL's last segment says of its kind, or a file's name.
std::string package_suffix(const std::string& source) {
  const std::string path = source.substr(0, source.find_first_of("?#"));
  return is_package(path) ? fs::path(path).extension().string() : std::string();
}

Result<std::string> sha256_of(const std::string& path) {
  char text[SHA256_DIGEST_STRING_LENGTH];
  if (::SHA256File(path.c_str(), text) == nullptr) return errno_error(errno, "HWS-CLI-004", "can't read " + path);
  return std::string(text);
}

bool is_program(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char magic[4] = {};
  in.read(magic, sizeof magic);
  return in.gcount() == 4 && std::string(magic, 4) == std::string("\x7f") + "ELF";
}

Status copy(const std::string& from, const file::Sink& sink) {
  std::ifstream in(from, std::ios::binary);
  if (!in || !fs::is_regular_file(from))
    return Error(Code::kNotFound, "HWS-CLI-004", "can't read " + from, "give the path or URL of an Envoy");
  std::vector<char> chunk(1U << 20U);
  std::uint64_t total = 0;
  while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || in.gcount() > 0) {
    total += static_cast<std::uint64_t>(in.gcount());
    if (total > kMaxProgram)
      return Error(Code::kInvalidArgument, "HWS-CLI-004", from + " has over 1 GiB", "is that an Envoy?");
    if (auto taken = sink({chunk.data(), static_cast<std::size_t>(in.gcount())}); !taken) return taken;
  }
  return {};
}

// Where all is done until the program has proved itself; gone with the object, whatever happened.
class Aside {
 public:
  explicit Aside(std::string path) : path_(std::move(path)) { clear(); }
  ~Aside() { clear(); }
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

  Status make() const {
    std::error_code error;
    fs::create_directory(path_, error);
    // The proxy's user has to get at the program.
    if (!error) fs::permissions(path_, fs::perms(0755), error);
    if (error) return store_error("can't make " + path_, error);
    return {};
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  void clear() const {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string path_;
};

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class Installation {
 public:
  Installation(const BinaryFolder& store, const Wanted& wanted, const User& user, const Say& say)
      : store_(store),
        wanted_(wanted),
        user_(user),
        say_(say),
        aside_(store.path() + "/.new"),
        shown_(without_secrets(wanted.source)) {}

  Result<Installed> run() {
    for (const auto step : {&Installation::prepare, &Installation::obtain, &Installation::check, &Installation::extract,
                            &Installation::look, &Installation::place})
      if (auto done = (this->*step)(); !done) return done.error();
    return Installed{sha256_, inspection_.version, inspection_.hot_restart_version};
  }

 private:
  Status prepare() {
    if (is_url(wanted_.source) && wanted_.sha256.empty())
      return Error(Code::kInvalidArgument, "HWS-CLI-041", "what comes from a URL needs its digest",
                   "give --sha256 HEX, from a place that you trust");
    if (!wanted_.sha256.empty() && !proxy::is_sha256(wanted_.sha256))
      return Error(Code::kInvalidArgument, "HWS-CLI-041", "'" + wanted_.sha256 + "' is no SHA-256",
                   "64 digits of lower-case hex, as sha256sum(1) prints them");
    if (!is_url(wanted_.source) && wanted_.source.find("://") != std::string::npos)
      return Error(Code::kInvalidArgument, "HWS-CLI-043", "can't fetch " + shown_, "https:// or http://");
    return aside_.make();
  }

  // A copy is checked and used, not the original: nobody else can change that meanwhile.
  Status obtain() {
    const std::string suffix = package_suffix(wanted_.source);
    obtained_ = aside_ / (suffix.empty() ? "envoy" : "package" + suffix);
    if (is_url(wanted_.source)) {
      say_("fetching " + shown_);
      return fetch(wanted_.source, obtained_);
    }
    return file::write_atomic(
        obtained_, [this](const file::Sink& sink) { return copy(wanted_.source, sink); }, 0644);
  }

  Status check() {
    if (!wanted_.sha256.empty()) {
      auto digest = sha256_of(obtained_);
      if (!digest) return digest.error();
      if (*digest != wanted_.sha256)
        return Error(Code::kDataLoss, "HWS-CLI-042", shown_ + " isn't what was expected: its SHA-256 is " + *digest,
                     "fetch it again, or ask its maker for the right digest");
      say_("its digest is as expected");
    }
    if (!wanted_.signature) return {};
    auto signature = check_signature(obtained_, *wanted_.signature);
    if (!signature) return signature.error();
    signature_ = *signature;
    say_("signed by " + signature_->key + " (" + signature_->by + ")");
    return {};
  }

  Status extract() {
    program_ = aside_ / "envoy";
    if (obtained_ != program_) {
      auto unpacked = file::write_atomic(
          program_, [this](const file::Sink& sink) { return unpack(obtained_, sink); }, 0644);
      if (!unpacked) return unpacked;
      if (auto gone = file::remove_durable(obtained_); !gone) return gone;
    }
    if (!is_program(program_))
      return Error(Code::kInvalidArgument, "HWS-CLI-004", shown_ + " is not a program",
                   "give the path or URL of an Envoy");
    if (::chmod(program_.c_str(), 0755) != 0) return errno_error(errno, "HWS-CLI-003", "can't make it executable");
    auto digest = sha256_of(program_);
    if (!digest) return digest.error();
    sha256_ = *digest;
    return {};
  }

  Status look() {
    auto seen = inspect(program_, aside_.path(), user_);
    if (!seen) return seen.error();
    inspection_ = *seen;
    say_("Envoy " + inspection_.version + " (hot restart " + inspection_.hot_restart_version + ") validates, in " +
         std::to_string(inspection_.validated_in.count()) + " ms");
    return {};
  }

  std::string record() const {
    std::error_code error;
    json out = {{"schema_version", 1},
                {"sha256", sha256_},
                {"version", inspection_.version},
                {"build", inspection_.build},
                {"hot_restart_version", inspection_.hot_restart_version},
                {"size", fs::file_size(program_, error)},
                {"source", shown_},
                {"installed_at", now()},
                {"signature", nullptr},
                {"extensions", inspection_.extensions},
                {"validated", {{"ms", inspection_.validated_in.count()}, {"uid", user_.uid}}}};
    if (!wanted_.sha256.empty()) out["source_sha256"] = wanted_.sha256;
    if (signature_) out["signature"] = {{"by", signature_->by}, {"key", signature_->key}};
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  }

  Status place() {
    if (auto written = file::write_atomic(aside_ / "binary.json", record(), 0644); !written) return written;
    const std::string folder = store_.folder_of(sha256_);
    std::error_code error;
    if (!fs::exists(folder)) {
      fs::rename(aside_.path(), folder, error);
    } else {
      // Known already, perhaps damaged, perhaps only by its quarantine: the program by the one that was just checked.
      fs::rename(program_, store_.program_of(sha256_), error);
      if (!error) fs::rename(aside_ / "binary.json", folder + "/binary.json", error);
      if (!error)
        if (auto synced = file::sync_folder(folder); !synced) return synced;
    }
    if (error) return store_error("can't move the program to " + folder, error);
    return file::sync_folder(store_.path());
  }

  const BinaryFolder& store_;
  const Wanted& wanted_;
  const User& user_;
  const Say& say_;
  Aside aside_;
  std::string shown_;  // the source
  std::string obtained_;
  std::string program_;
  std::string sha256_;
  std::optional<Signature> signature_;
  Inspection inspection_;
};

}  // namespace

Result<Installed> install(const BinaryFolder& store, const Wanted& wanted, const User& user, const Say& say) {
  return Installation(store, wanted, user, say).run();
}

Status use(const BinaryFolder& store, const std::string& sha256) {
  if (const auto why = store.quarantine(sha256))
    return Error(Code::kFailedPrecondition, "HWS-BR-027",
                 "the proxy binary " + short_digest(sha256) + " is quarantined: " + why->reason,
                 "hawser proxy allow " + short_digest(sha256));
  const std::string before = store.target(BinaryLink::kCurrent);
  if (before == sha256) return {};
  if (store.has(before))
    if (auto pointed = store.point(BinaryLink::kPrevious, before); !pointed) return pointed;
  return store.point(BinaryLink::kCurrent, sha256);
}

std::string short_digest(const std::string& sha256) {
  return sha256.substr(0, kShort);
}

Result<std::string> find(const BinaryFolder& store, const std::string& beginning) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator at(store.path(), error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (proxy::is_sha256(name) && name.rfind(beginning, 0) == 0) found.push_back(name);
  }
  if (beginning.size() >= kShortest && found.size() == 1) return found.front();
  return Error(Code::kNotFound, "HWS-CLI-048",
               "'" + beginning + "' " + (found.empty() ? "begins no binary's digest" : "isn't enough of a digest"),
               "hawser proxy list");
}

}  // namespace hawser::binaries
