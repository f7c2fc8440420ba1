// SPDX-License-Identifier: Apache-2.0
#include <sha2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/file.h"
#include "cli/command.h"

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

}  // namespace

void add_proxy(CLI::App& app, Context& context) {
  auto* proxy = app.add_subcommand("proxy", "The proxy, and the binaries that the broker may start");
  proxy->require_subcommand(1);
  auto binary = std::make_shared<std::string>();
  auto* command =
      proxy->add_subcommand("install", "Copy an Envoy binary into the store and make it the one that new starts use");
  command->add_option("FILE", *binary, "The Envoy binary")->required();
  command->callback([&context, binary] { install(context, *binary); });
  add_proxy_restart(*proxy, context);
}

}  // namespace hawser::cli
