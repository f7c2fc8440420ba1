// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/file.h"
#include "cli/intercept.h"
#include "import/importer.h"

namespace hawser::cli {
namespace {

constexpr std::size_t kMaxEnvironment = 1U << 20U;

using Import = Result<import::Imported> (*)(const import::Input&);

void run(Context& context, Import import, const import::Input& given) {
  import::Input input = given;
  if (!input.environment_name.empty()) {
    auto text = file::read_bounded(input.environment_name, kMaxEnvironment);
    if (!text) return fail(context, text.error());
    input.environment = std::move(*text);
  }
  const auto imported = import(input);
  if (!imported) return fail(context, imported.error());
  for (const std::string& warning : imported->warnings) warn(warning);
  std::printf("%s", imported->yaml.c_str());
}

void add(CLI::App& parent, Context& context, const char* name, const char* about, Import import) {
  auto input = std::make_shared<import::Input>();
  auto* command = parent.add_subcommand(name, about);
  command->add_option("--env", input->environment_name, "File of NAME=VALUE lines, e.g. sidecar.env")
      ->type_name("FILE");
  command->add_option("flags", input->arguments, "That tool's own flags, after --")->type_name("FLAGS");
  command->callback([&context, import, input] { run(context, import, *input); });
}

}  // namespace

void add_intercept_import(CLI::App& intercept, Context& context) {
  auto* command = intercept.add_subcommand("import", "Other tools' settings as our configuration, on standard output");
  command->require_subcommand(1)->fallthrough();
  add(*command, context, "istio", "Of `pilot-agent istio-iptables`", import::import_istio);
  add(*command, context, "traffic-director", "Of Traffic Director's script for VMs", import::import_traffic_director);
}

}  // namespace hawser::cli
