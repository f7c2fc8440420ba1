// SPDX-License-Identifier: Apache-2.0
// `hawser cert export`: the stored identity as files, once. It reads the store itself: no key goes over admin.sock.
#include "cli/cert_export.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "certs/export.h"
#include "certs/secret.h"
#include "certs/utc.h"

namespace hawser::cli {
namespace {

using certs::ExportLayout;

constexpr std::size_t kMaxFile = 1 << 20;
// A generation may be replaced while it is read.
constexpr int kTries = 3;

struct Options {
  std::string to;
  std::string layout = "pem";
  std::string owner;
  std::string group;
};

struct Stored {
  certs::Secret key;
  std::string chain;
  std::string roots;
  std::string not_after;
};

Error unreadable(const std::string& folder, const Error& cause) {
  Error out(cause.code(), "HWS-XP-004", "can't read this host's identity in " + folder,
            "run it as root, on a host that has joined: hawser status");
  out.because(cause);
  return out;
}

// The folder that is in force, by its own name: what it holds never changes.
Result<std::string> in_force(const std::string& folder) {
  char real[PATH_MAX];
  if (::realpath((folder + "/current").c_str(), real) == nullptr)
    return unreadable(folder, errno_error(errno, "HWS-FS-002", "can't follow " + folder + "/current"));
  return std::string(real);
}

Result<Stored> read_once(const std::string& folder) {
  auto generation = in_force(folder);
  if (!generation) return generation.error();
  Stored out;
  auto key = file::read_bounded(*generation + "/key.pem", kMaxFile);
  if (!key) return unreadable(folder, key.error());
  out.key = certs::Secret(std::move(*key));
  for (auto [name, text] : {std::pair{"/cert-chain.pem", &out.chain}, std::pair{"/roots.pem", &out.roots}}) {
    auto content = file::read_bounded(*generation + name, kMaxFile);
    if (!content) return unreadable(folder, content.error());
    *text = std::move(*content);
  }
  const auto meta = file::read_bounded(*generation + "/meta.json", kMaxFile);
  if (!meta) return unreadable(folder, meta.error());
  const auto facts = nlohmann::json::parse(*meta, nullptr, false);
  if (facts.is_object() && facts.contains("not_after") && facts["not_after"].is_string())
    out.not_after = facts["not_after"].get<std::string>();
  return out;
}

Result<Stored> read_identity(const std::string& folder) {
  auto out = read_once(folder);
  for (int i = 1; i < kTries && !out && out.error().code() == Code::kNotFound; ++i) out = read_once(folder);
  return out;
}

// Where somebody else keeps the key, our store has none.
Status is_stored(const Context& context) {
  const auto loaded = config::load(context.paths);
  if (!loaded.errors.empty()) return {};  // nothing that stands in the way of a copy
  const auto type = loaded.config.ca.type;
  if (type != config::CaSettings::Type::kSpiffe && type != config::CaSettings::Type::kFiles) return {};
  return Error(Code::kFailedPrecondition, "HWS-XP-005",
               std::string("with ca.type ") + (type == config::CaSettings::Type::kFiles ? "files" : "spiffe") +
                   " the identity isn't on Hawser's disk",
               "have hawserd write it: exports: in hawser.yaml");
}

Result<certs::ExportTarget> target_of(const Options& options) {
  certs::ExportTarget out;
  out.to = options.to;
  out.layout = options.layout == "istio"    ? ExportLayout::kIstio
               : options.layout == "spiffe" ? ExportLayout::kSpiffe
                                            : ExportLayout::kPem;
  if (!options.owner.empty()) {
    auto owner = config::resolve_user(options.owner);
    if (!owner) return owner.error();
    out.owner = *owner;
  }
  if (!options.group.empty()) {
    auto group = config::resolve_group(options.group);
    if (!group) return group.error();
    out.group = *group;
  }
  return out;
}

Status run(const Context& context, const Options& options) {
  if (auto stored = is_stored(context); !stored) return stored;
  auto target = target_of(options);
  if (!target) return target.error();
  auto identity = read_identity(context.state_dir + "/identity");
  if (!identity) return identity.error();
  const auto now = std::chrono::system_clock::now();
  auto written = certs::write_export(*target, {identity->key.reveal(), identity->chain, identity->roots}, now);
  if (written) written = certs::sweep_export(*target);
  if (!written) return written;
  for (const auto& name : certs::names_of(target->layout)) std::printf("%s/%s\n", target->to.c_str(), name.c_str());
  if (identity->not_after.empty()) return {};
  const bool ended = identity->not_after <= certs::utc_text(now);  // both in the one form that sorts
  warn("this certificate " + std::string(ended ? "ended" : "ends") + " at " + identity->not_after +
       "; exports: in hawser.yaml keeps files up to date");
  return {};
}

}  // namespace

void add_cert_export(CLI::App& cert, Context& context) {
  auto options = std::make_shared<Options>();
  auto* command = cert.add_subcommand("export", "Write the stored key and certificates into a folder, once");
  command->add_option("--to", options->to, "The folder; made if its parent is there")->required();
  command->add_option("--layout", options->layout, "istio, spiffe or pem: by which names")
      ->check(CLI::IsMember({"istio", "spiffe", "pem"}));
  command->add_option("--owner", options->owner, "Whose the files are (root only)");
  command->add_option("--group", options->group, "Who may read the key besides: mode 0640 instead of 0600");
  command->callback([&context, options] {
    if (auto done = run(context, *options); !done) fail(context, done.error());
  });
}

}  // namespace hawser::cli
