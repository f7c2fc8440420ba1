// SPDX-License-Identifier: Apache-2.0
// `hawser image`: a disk that many hosts are made of must not carry one host's identity.
#include <fcntl.h>
#include <sys/file.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/file.h"
#include "cli/command.h"

namespace hawser::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxEntries = 100'000;

struct ImageOptions {
  std::string root;
  bool json = false;
};

// What is the same on each host: the proxies' binaries.
bool stays(const fs::path& state, const fs::path& entry) {
  const std::string name = entry.lexically_relative(state).string();
  return name == "proxy/bin" || name.rfind("proxy/bin/", 0) == 0;
}

// Everything of one host in the state folder: keys, certificates and token, what a control plane and a proxy said.
Result<std::vector<fs::path>> own_files(const fs::path& state) {
  std::vector<fs::path> out;
  std::error_code error;
  if (!fs::exists(state, error) && !error) return out;
  fs::recursive_directory_iterator it;
  if (!error) it = fs::recursive_directory_iterator(state, error);
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    if (stays(state, it->path())) {
      it.disable_recursion_pending();
    } else if (const auto type = it->symlink_status(error).type(); type != fs::file_type::directory) {
      out.push_back(it->path());
      if (out.size() == kMaxEntries) break;
    }
  }
  if (error)
    return Error(Code::kPermissionDenied, "HWS-CLI-010", "can't look into " + state.string() + ": " + error.message(),
                 "run it as root");
  std::sort(out.begin(), out.end());
  return out;
}

// machine-id(5): both are made into one of its own by a host's first boot.
bool has_machine_id(const std::string& root) {
  const auto text = file::read_bounded(root + "/etc/machine-id", 4096);
  return text && *text != "" && *text != "\n" && text->rfind("uninitialized", 0) != 0;
}

// hawserd holds this lock as long as it runs (certs/key_store.h).
Status nobody_runs(const fs::path& state) {
  const std::string folder = state / "identity";
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return {};
  return Error(Code::kFailedPrecondition, "HWS-CLI-011", "hawserd runs on " + state.string(),
               "systemctl stop hawser.service hawser-broker.service and their sockets, then once more");
}

// Folders that are empty then, but for those right below `state`: tmpfiles.d made them.
void remove_emptied(const fs::path& state, fs::path folder) {
  std::error_code error;
  while (folder != state && folder.parent_path() != state && fs::is_empty(folder, error) && fs::remove(folder, error))
    folder = folder.parent_path();
}

Status remove_all(const fs::path& state, const std::vector<fs::path>& files) {
  for (const fs::path& path : files) {
    std::error_code error;
    fs::remove(path, error);
    if (error) return Error(Code::kInternal, "HWS-CLI-002", "can't remove " + path.string() + ": " + error.message());
    remove_emptied(state, path.parent_path());
  }
  return {};
}

void prepare(Context& context, const ImageOptions& options) {
  if (!need_root(context, "image prepare")) return;
  const fs::path state = options.root + context.state_dir;
  if (auto idle = nobody_runs(state); !idle) return fail(context, idle.error());
  const auto files = own_files(state);
  if (!files) return fail(context, files.error());
  if (auto removed = remove_all(state, *files); !removed) return fail(context, removed.error());
  for (const fs::path& path : *files) std::printf("removed %s\n", path.c_str());
  std::printf("%zu file%s of this host's own removed; configuration stays\n", files->size(),
              files->size() == 1 ? "" : "s");
  if (has_machine_id(options.root))
    warn("/etc/machine-id is this host's: `truncate -s 0 " + options.root +
         "/etc/machine-id` at last, and each host gets one of its own");
}

void verify(Context& context, const ImageOptions& options) {
  const fs::path state = options.root + context.state_dir;
  const auto files = own_files(state);
  if (!files) return fail(context, files.error());
  const bool machine_id = has_machine_id(options.root);
  if (!files->empty() || machine_id) context.exit_code = 1;
  if (options.json) {
    nlohmann::json out = {{"clean", context.exit_code == 0}, {"machine_id", machine_id}};
    out["files"] = nlohmann::json::array();
    for (const fs::path& path : *files) out["files"].push_back(path.string());
    std::printf("%s\n", out.dump(2).c_str());
    return;
  }
  for (const fs::path& path : *files) std::printf("  FAIL %s is of one host\n", path.c_str());
  std::printf("  %-4s %s\n", machine_id ? "FAIL" : "ok", "/etc/machine-id is empty, so that each host makes its own");
  if (files->empty()) std::printf("  ok   nothing of one host in %s\n", state.c_str());
  if (!files->empty()) std::printf("hawser image prepare removes them\n");
}

}  // namespace

void add_image(CLI::App& app, Context& context) {
  auto* image = app.add_subcommand("image", "Make the disk clean that hosts are cloned from, and prove it");
  image->require_subcommand(1);
  auto options = std::make_shared<ImageOptions>();
  auto* prepare_command = image->add_subcommand(
      "prepare", "Remove what is one host's own: keys, certificates, token, what was received; configuration stays");
  auto* verify_command = image->add_subcommand("verify", "Is anything of one host left? Exit status 1 if so");
  for (auto* command : {prepare_command, verify_command})
    command->add_option("--root", options->root, "An image that is mounted there, instead of this host")
        ->check(CLI::ExistingDirectory);
  verify_command->add_flag("--json", options->json, "Print as JSON");
  prepare_command->callback([&context, options] { prepare(context, *options); });
  verify_command->callback([&context, options] { verify(context, *options); });
}

}  // namespace hawser::cli
