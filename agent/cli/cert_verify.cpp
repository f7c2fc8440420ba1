// SPDX-License-Identifier: Apache-2.0
// `hawser cert verify`: offline, of any certificate.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "certs/check.h"
#include "cli/cert_verify.h"
#include "cli/command.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFile = 1 << 20;

struct CertVerifyOptions {
  std::string file;
  std::string key;
  std::string roots;
  bool json = false;
};

void print(const CertVerifyOptions& options, const certs::Checked& checked) {
  if (!options.json) {
    for (const auto& finding : checked.findings)
      std::printf("  %-4s %s\n", finding.good ? "ok" : "FAIL", finding.text.c_str());
    return;
  }
  json out = {{"schema_version", 1}, {"good", checked.good()}, {"findings", json::array()}};
  for (const auto& finding : checked.findings)
    out["findings"].push_back({{"check", finding.check}, {"good", finding.good}, {"text", finding.text}});
  std::printf("%s\n", out.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

void verify(Context& context, const CertVerifyOptions& options) {
  certs::CheckInput input;
  auto bytes = file::read_bounded(options.file, kMaxFile);
  if (!bytes) return fail(context, bytes.error());
  input.certificate = std::move(*bytes);
  if (!options.key.empty()) {
    auto key = file::read_bounded(options.key, kMaxFile);
    if (!key) return fail(context, key.error());
    input.key = certs::Secret(std::move(*key));
  }
  auto roots = options.roots.empty() ? trusted_roots(context) : file::read_bounded(options.roots, kMaxFile);
  if (!roots) return fail(context, roots.error());
  input.roots = std::move(*roots);
  const auto checked = certs::check_certificate(input, std::chrono::system_clock::now());
  print(options, checked);
  if (!checked.good()) context.exit_code = 1;
}

}  // namespace

Result<std::string> trusted_roots(const Context& context) {
  const std::string path = context.state_dir + "/identity/trust.json";
  auto state = file::read_bounded(path, 4 << 20);
  if (!state)
    return Error(state.error().code(), "HWS-CLI-023", "there are no roots to verify by: " + state.error().message(),
                 "run it as root on a host that is joined, or give --roots FILE");
  return certs::roots_in_force(*state, config::load(context.paths).config.trust.exclude, path);
}

void add_cert_verify(CLI::App& cert, Context& context) {
  auto options = std::make_shared<CertVerifyOptions>();
  auto* command = cert.add_subcommand(
      "verify", "Is a certificate good, and does it lead to a root that is trusted? Exit status 1 if not");
  command->add_option("FILE", options->file, "PEM (a chain, leaf first, and perhaps its key) or DER")->required();
  command->add_option("--key", options->key, "The private key that should be its own, PEM");
  command->add_option("--roots", options->roots, "PEM, instead of what this host trusts");
  command->add_flag("--json", options->json, "Print as JSON");
  command->callback([&context, options] { verify(context, *options); });
}

}  // namespace hawser::cli
