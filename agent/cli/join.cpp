// SPDX-License-Identifier: Apache-2.0
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <sstream>

#include "base/file.h"
#include "bootstrap/onboarding.h"
#include "cli/admin_call.h"
#include "cli/agent_start.h"
#include "cli/command.h"
#include "cli/join_flags.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

struct JoinOptions {
  std::string folder;
  JoinFlags flags;
  std::vector<std::string> settings;
};

std::string drop_in(const Context& context) {
  return context.paths.drop_in_dir + "/50-join.yaml";
}

// --set a.b=value over the drop-in.
Result<std::string> with_settings(const std::string& text, const std::vector<std::string>& settings) {
  if (settings.empty()) return text;
  try {
    const YAML::Node document = YAML::Load(text);
    for (const auto& setting : settings) {
      const auto equals = setting.find('=');
      if (equals == std::string::npos || equals == 0)
        return Error(Code::kInvalidArgument, "HWS-CLI-005", "--set '" + setting + "' is no KEY=VALUE",
                     "e.g. --set identity.ttl=12h");
      YAML::Node place = document;
      std::istringstream path(setting.substr(0, equals));
      for (std::string key; std::getline(path, key, '.');) place.reset(place[key]);
      place = YAML::Load(setting.substr(equals + 1));
    }
    YAML::Emitter out;
    out << document;
    return "# Written by 'hawser join', removed by 'hawser leave'.\n" + std::string(out.c_str()) + "\n";
  } catch (const YAML::Exception& error) {
    return Error(Code::kInvalidArgument, "HWS-CLI-005", "--set: " + error.msg, "e.g. --set identity.ttl=12h");
  }
}

// What a bundle or the flags in its place give: the drop-in's text, and the token.
struct Given {
  std::string text;
  std::string token;
};

Result<Given> read_given(const JoinOptions& options) {
  if (options.folder.empty() == !options.flags.any())
    return Error(Code::kInvalidArgument, "HWS-CLI-012",
                 options.folder.empty() ? "neither a bundle nor --ca is given" : "a bundle says all that the flags say",
                 "hawser join DIR, or hawser join --ca HOST:PORT --root FILE --token-file FILE …");
  Given given;
  if (options.folder.empty()) {
    auto text = join_text(options.flags);
    if (!text) return text.error();
    auto token = join_token(options.flags);
    if (!token) return token.error();
    given = {std::move(*text), std::move(*token)};
  } else {
    auto bundle = bootstrap::load_bundle(options.folder);
    if (!bundle) return bundle.error();
    for (const auto& warning : bundle->warnings) warn(warning);
    given = {bootstrap::to_join_yaml(*bundle), std::move(bundle->token)};
  }
  auto text = with_settings(given.text, options.settings);
  if (!text) return text.error();
  given.text = std::move(*text);
  return given;
}

// As hawserd will read it: the whole configuration with the new drop-in. Nothing is left if it isn't valid.
Status write_valid(const Context& context, const Given& given) {
  const config::Loaded alone = config::parse(given.text, drop_in(context));
  // What is missing here may be in another file.
  for (const auto& error : alone.errors)
    if (error.id() != "HWS-CF-005") return error;
  if (auto written = file::write_atomic(drop_in(context), given.text, 0644); !written) return written;
  const config::Loaded whole = config::load(context.paths);
  Status valid = whole.errors.empty() ? check_proof(whole.config, !given.token.empty()) : whole.errors.front();
  if (!valid) (void)file::remove_durable(drop_in(context));
  return valid;
}

Status hand_over(const Context& context, const std::string& token) {
  admin::v1::Request request;
  request.mutable_join()->set_token(token);
  auto answer = admin_call(context, request, 15000);
  if (!answer) return answer.error();
  return {};
}

void run(Context& context, const JoinOptions& options) {
  if (!need_root(context, "join")) return;
  if (file::exists(drop_in(context)))
    return fail(context,
                Error(Code::kAlreadyExists, "HWS-CLI-006", "this host is joined already (" + drop_in(context) + ")",
                      "hawser leave first, or hawser status"));
  auto given = read_given(options);
  if (!given) return fail(context, given.error());
  // Before the drop-in is there: a hawserd that starts with it joins by itself, without the token.
  if (auto running = ensure_agent(context); !running) return fail(context, running.error());
  if (auto written = write_valid(context, *given); !written) return fail(context, written.error());
  if (auto handed = hand_over(context, given->token); !handed) {
    (void)file::remove_durable(drop_in(context));
    return fail(context, handed.error());
  }
  std::printf("joining; 'hawser wait' returns when the host is in the mesh, 'hawser status' tells how far it is\n");
}

}  // namespace

void add_join(CLI::App& app, Context& context) {
  auto* command =
      app.add_subcommand("join", "Join a mesh: with the bundle of 'istioctl x workload entry configure', or by flags");
  auto options = std::make_shared<JoinOptions>();
  command->add_option("DIR", options->folder,
                      "Folder with root-cert.pem, istio-token, cluster.env, mesh.yaml and hosts");
  add_join_flags(*command, options->flags);
  command->add_option("--set", options->settings, "A configuration value over these, e.g. identity.ttl=12h")
      ->allow_extra_args(false);
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
