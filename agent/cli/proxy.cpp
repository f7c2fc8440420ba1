// SPDX-License-Identifier: Apache-2.0
#include <sha2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/fd.h"
#include "base/file.h"
#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/proxy_verbs.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

namespace fs = std::filesystem;

Error store_error(const std::string& what, const std::error_code& error) {
  return {Code::kInternal, "HWS-CLI-003", what + ": " + error.message(),
          "check space and permissions of /var/lib/hawser/proxy/bin"};
}

Result<std::string> sha256_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error(Code::kNotFound, "HWS-CLI-004", "can't read " + path, "give the path of an Envoy binary");
  SHA2_CTX context;
  SHA256Init(&context);
  std::vector<char> chunk(1U << 20U);
  while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || in.gcount() > 0)
    SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(chunk.data()), static_cast<std::size_t>(in.gcount()));
  char text[SHA256_DIGEST_STRING_LENGTH];
  return std::string(SHA256End(&context, text));
}

bool is_elf(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char magic[4] = {};
  in.read(magic, 4);
  return in.gcount() == 4 && std::string(magic, 4) ==
                                 "\x7f"
                                 "ELF";
}

// Copied aside and renamed, so that a half-written binary is never in the store.
Status place(const std::string& from, const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return store_error("can't make " + folder, error);
  fs::permissions(folder, fs::perms(0755), error);
  const std::string aside = folder + "/envoy.new";
  fs::copy_file(from, aside, fs::copy_options::overwrite_existing, error);
  if (error) return store_error("can't copy to " + aside, error);
  fs::permissions(aside, fs::perms(0755), error);
  if (error) return store_error("can't set the mode of " + aside, error);
  fs::rename(aside, folder + "/envoy", error);
  if (error) return store_error("can't rename " + aside, error);
  return file::sync_folder(folder);
}

Status point_current(const std::string& store, const std::string& digest) {
  std::error_code error;
  const std::string aside = store + "/current.new";
  fs::remove(aside, error);
  fs::create_symlink(digest, aside, error);
  if (!error) fs::rename(aside, store + "/current", error);
  if (error) return store_error("can't point 'current' at " + digest, error);
  return file::sync_folder(store);
}

void install(Context& context, const std::string& binary) {
  if (!need_root(context, "proxy install")) return;
  auto digest = sha256_of(binary);
  if (!digest) return fail(context, digest.error());
  if (!is_elf(binary))
    return fail(context, Error(Code::kInvalidArgument, "HWS-CLI-004", binary + " is not a program",
                               "give the path of an Envoy binary"));
  const std::string store = context.state_dir + "/proxy/bin";
  const std::string folder = store + "/" + *digest;
  if (!file::exists(folder + "/envoy"))
    if (auto placed = place(binary, folder); !placed) return fail(context, placed.error());
  if (auto pointed = point_current(store, *digest); !pointed) return fail(context, pointed.error());
  std::printf("installed %s as %s\n", binary.c_str(), (folder + "/envoy").c_str());
}

struct RestartOptions {
  bool as_json = false;
  std::string timeout = "90s";
};

void restart(Context& context, const RestartOptions& options) {
  using nlohmann::json;
  if (!need_root(context, "proxy restart")) return;
  const auto timeout = read_wait(context, "--timeout", options.timeout);
  if (!timeout) return;
  if (!options.as_json) std::printf("checking, then handing over; the proxy that serves goes on until then\n");
  std::fflush(stdout);
  admin::v1::Request request;
  request.mutable_proxy_restart();
  auto answer = admin_call(context, request, static_cast<int>(timeout->count()));
  if (!answer) {
    if (answer.error().code() == Code::kDeadlineExceeded && answer.error().id().rfind("HWS-PX", 0) != 0)
      warn("hawserd goes on with it; hawser status shows the outcome");
    return fail(context, answer.error());
  }
  if (options.as_json) {
    std::printf("%s\n", answer->c_str());
    return;
  }
  const json done = json::parse(*answer, nullptr, false);
  if (!done.is_object() || !done.contains("old") || !done.contains("new"))
    return fail(context, Error(Code::kInternal, "HWS-RPC-001", "hawserd's answer can't be read"));
  const json& old_one = done["old"];
  const json& new_one = done["new"];
  std::printf("%s (pid %d, Envoy %s) took over from %s (pid %d) in %.2f s; open connections end there\n",
              new_one.value("generation", "").c_str(), new_one.value("pid", 0), new_one.value("version", "").c_str(),
              old_one.value("generation", "").c_str(), old_one.value("pid", 0), done.value("took_ms", 0) / 1000.0);
}

}  // namespace

void add_proxy(CLI::App& app, Context& context) {
  auto* proxy = app.add_subcommand("proxy", "The proxy, and the binaries that the broker may start");
  proxy->require_subcommand(1);
  auto binary = std::make_shared<std::string>();
  auto* command =
      proxy->add_subcommand("install", "Copy an Envoy binary into the store and make it the one that new starts use");
  command->add_option("FILE", *binary, "The Envoy binary")->required();
  command->callback([&context, binary] { install(context, *binary); });
  auto options = std::make_shared<RestartOptions>();
  auto* again = proxy->add_subcommand(
      "restart", "Replace the running proxy by the store's current binary, without refusing a connection");
  again->add_flag("--json", options->as_json, "Print as JSON");
  again->add_option("--timeout", options->timeout, "How long to wait for the outcome")->capture_default_str();
  again->callback([&context, options] { restart(context, *options); });
  add_proxy_status(*proxy, context);
  add_proxy_history(*proxy, context);
  add_proxy_connections(*proxy, context);
  add_proxy_config_dump(*proxy, context);
  add_proxy_logs(*proxy, context);
}

}  // namespace hawser::cli
