// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/join_flags.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

struct Reset {
  std::string token_file;
  bool yes = false;
  bool force = false;
};

json object_in(const json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : json::object();
}

void line(const char* what, const std::string& text) {
  if (!text.empty()) std::printf("%-12s %s\n", what, text.c_str());
}

void print_proof(const json& proof) {
  const json token = object_in(proof, "token");
  std::string text = text_in(proof, "source");
  text += proof.value("attests_again", false) ? ", which can prove it again at any time" : "";
  if (!token.empty() && !token.value("present", false)) text += ": there is no token";
  if (const auto end = text_in(token, "expires"); !end.empty())
    text += std::string(": a token that ") + (token.value("expired", false) ? "ended at " : "is good until ") + end;
  line("proof", text);
}

void show_identity(Context& context, bool as_json) {
  admin::v1::Request request;
  request.mutable_identity_show();
  auto answer = admin_json(context, request, 10000);
  if (!answer) return fail(context, answer.error());
  if (as_json) {
    std::printf("%s\n", answer->dump(2).c_str());
    return;
  }
  line("spiffe_id", text_in(*answer, "spiffe_id"));
  const json machine = object_in(*answer, "machine");
  const std::string instance = text_in(machine, "instance");
  line("machine", text_in(machine, "id") + (instance.empty() ? "" : ", instance " + instance));
  const json ca = object_in(*answer, "ca");
  line("certified by", text_in(ca, "type") + (text_in(ca, "address").empty() ? "" : " at " + text_in(ca, "address")));
  const json cert = object_in(*answer, "certificate");
  line("certificate", cert.empty() ? "none" : text_in(cert, "serial") + ", until " + text_in(cert, "not_after"));
  print_proof(object_in(*answer, "proof"));
  const json store = object_in(*answer, "store");
  std::string kept = text_in(store, "folder");
  for (const auto& one : store.value("generations", json::array()))
    kept += std::string("; ") + text_in(one, "name") + " until " + text_in(one, "not_after");
  line("on disk", kept);
  line("at the end", "when certificate and proof have ended, " + text_in(*answer, "when_all_has_ended"));
}

bool confirmed(Context& context, const Reset& options) {
  if (options.yes) return true;
  if (options.token_file != "-" && isatty(STDIN_FILENO) == 1) {
    std::printf("This drops the host's key, certificate and token, and asks for new ones. Go on? [y/N] ");
    std::fflush(stdout);
    std::string answer;
    std::getline(std::cin, answer);
    if (answer == "y" || answer == "Y" || answer == "yes") return true;
  }
  fail(context, Error(Code::kFailedPrecondition, "HWS-CLI-022", "the identity stays: nobody said yes", "--yes"));
  return false;
}

void reset(Context& context, const Reset& options) {
  if (!need_root(context, "identity reset") || !confirmed(context, options)) return;
  admin::v1::Request request;
  request.mutable_identity_reset()->set_force(options.force);
  if (!options.token_file.empty()) {
    auto token = load_token(options.token_file);
    if (!token) return fail(context, token.error());
    request.mutable_identity_reset()->set_token(*token);
  }
  if (auto answer = admin_json(context, request, 30000); !answer) return fail(context, answer.error());
  std::printf("key, certificate and token are gone; 'hawser wait' returns when the host has new ones\n");
}

void prove(Context& context, const std::string& token_file) {
  if (!need_root(context, "identity prove")) return;
  auto token = load_token(token_file);
  if (!token) return fail(context, token.error());
  admin::v1::Request request;
  request.mutable_identity_prove()->set_token(*token);
  auto answer = admin_json(context, request, 60000);
  if (!answer) return fail(context, answer.error());
  std::printf("the token is taken; certificate until %s\n", text_in(*answer, "not_after").c_str());
}

}  // namespace

void add_identity(CLI::App& app, Context& context) {
  auto* identity = app.add_subcommand("identity", "Who this host is to the mesh, and what that rests on");
  identity->require_subcommand(1);
  auto as_json = std::make_shared<bool>(false);
  auto* show_command = identity->add_subcommand(
      "show", "SPIFFE id, machine, certificate, proof, what is on disk, and what happens when all of it has ended");
  show_command->add_flag("--json", *as_json, "Print as JSON");
  show_command->callback([&context, as_json] { show_identity(context, *as_json); });
  auto token_file = std::make_shared<std::string>();
  auto* prove_command =
      identity->add_subcommand("prove", "Take a new token, store it, and ask for a certificate with it at once");
  prove_command->add_option("--token-file", *token_file, "The token; - reads standard input")->required();
  prove_command->callback([&context, token_file] { prove(context, *token_file); });
  auto options = std::make_shared<Reset>();
  auto* reset_command = identity->add_subcommand("reset", "Drop key, certificate and token, and ask for new ones");
  reset_command->add_option("--token-file", options->token_file, "The new token; - reads standard input");
  reset_command->add_flag("--yes", options->yes, "Don't ask");
  reset_command->add_flag("--force", options->force, "Also when nothing is left then that proves who this host is");
  reset_command->callback([&context, options] { reset(context, *options); });
}

}  // namespace hawser::cli
