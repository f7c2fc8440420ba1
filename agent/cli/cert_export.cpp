// SPDX-License-Identifier: Apache-2.0
// `hawser cert export`: the stored identity as files, once. It reads the store itself: no key goes over admin.sock.
#include "cli/cert_export.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "certs/export.h"
#include "certs/key_store_files.h"
#include "certs/utc.h"
#include "cli/cert_verify.h"

namespace hawser::cli {
namespace {

using certs::ExportLayout;

// A generation may be replaced while it is read.
constexpr int kTries = 3;

struct CertExportOptions {
  std::string to;
  std::string layout = "pem";
  std::string owner;
  std::string group;
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

Result<certs::IdentityPtr> read_identity(const std::string& folder) {
  Result<certs::IdentityPtr> out = certs::IdentityPtr();
  for (int i = 0; i < kTries; ++i) {
    auto path = in_force(folder);
    if (!path) return path.error();
    std::vector<Error> notes;
    auto stored = certs::generation::read(*path, notes);
    for (const auto& note : notes) warn(note.to_string());
    if (stored) return std::move(stored->identity);
    out = unreadable(folder, stored.error());
  }
  return out;
}

// Whom this host trusts, which may be more than its CA sent last.
std::string roots_of(const Context& context, const certs::Identity& identity) {
  auto trusted = trusted_roots(context);
  return trusted && !trusted->empty() ? std::move(*trusted) : identity.roots_pem;
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

Result<certs::ExportTarget> target_of(const CertExportOptions& options) {
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

Status run(const Context& context, const CertExportOptions& options) {
  if (auto stored = is_stored(context); !stored) return stored;
  auto target = target_of(options);
  if (!target) return target.error();
  auto identity = read_identity(context.state_dir + "/identity");
  if (!identity) return identity.error();
  const auto now = std::chrono::system_clock::now();
  const certs::Identity& mine = **identity;
  auto written = certs::write_export(*target, {mine.key_pem.reveal(), mine.chain_pem, roots_of(context, mine)}, now);
  if (written) written = certs::sweep_export(*target);
  if (!written) return written;
  for (const auto& name : certs::names_of(target->layout)) std::printf("%s/%s\n", target->to.c_str(), name.c_str());
  warn("this certificate " + std::string(mine.expired_at(now) ? "ended" : "ends") + " at " +
       certs::utc_text(mine.not_after) + "; exports: in hawser.yaml keeps files up to date");
  return {};
}

}  // namespace

void add_cert_export(CLI::App& cert, Context& context) {
  auto options = std::make_shared<CertExportOptions>();
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
