// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/xds_group.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

struct XdsBootstrapOptions {
  bool grpc = false;
  std::string output;
};

// Only a warning: the file may well be made before the socket is switched on.
void warn_if_off(const Context& context) {
  const auto loaded = config::load(context.paths);
  if (loaded.errors.empty() && !loaded.config.proxyless.enabled)
    warn("proxyless.enabled is false, so nothing listens at the socket that this names");
}

void run(Context& context, const XdsBootstrapOptions& options) {
  admin::v1::Request request;
  request.mutable_xds_bootstrap();
  auto answer = admin_call(context, request);
  if (!answer) return fail(context, answer.error());
  warn_if_off(context);
  if (options.output.empty()) {
    std::printf("%s", answer->c_str());
    return;
  }
  if (auto written = file::write_atomic(options.output, *answer, 0644); !written) fail(context, written.error());
}

}  // namespace

void add_xds_bootstrap(CLI::App& app, Context& context) {
  auto options = std::make_shared<XdsBootstrapOptions>();
  auto* command = xds_group(app).add_subcommand("bootstrap", "What a program that speaks xDS itself starts with");
  command->add_flag("--grpc", options->grpc, "For gRPC (GRPC_XDS_BOOTSTRAP)")->required();
  command->add_option("--output", options->output, "File to write, mode 0644; else standard output");
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
