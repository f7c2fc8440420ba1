// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

std::string list_in(const json& object, const char* key) {
  std::string out;
  for (const auto& one : object.value(key, json::array()))
    if (one.is_string()) out += (out.empty() ? "" : ", ") + one.get<std::string>();
  return out;
}

void print_root(const json& root) {
  std::string state = text_in(root, "state");
  if (state == "retired") state += ": nobody sends it any more; trusted until " + text_in(root, "retired_until");
  if (state == "excluded") state += ": never trusted, whoever sends it";
  const std::string from = list_in(root, "sources");
  std::printf("%s\n  sha256  %s\n  key     %s\n  valid   %s to %s\n  from    %s\n  state   %s\n",
              text_in(root, "subject").c_str(), text_in(root, "sha256").c_str(), text_in(root, "key").c_str(),
              text_in(root, "not_before").c_str(), text_in(root, "not_after").c_str(),
              from.empty() ? "-" : from.c_str(), state.c_str());
}

void print_crl(const json& crl) {
  const std::string trouble = text_in(crl.value("trouble", json::object()), "message");
  std::printf("revocation lists of %s: %s\n", text_in(crl, "path").c_str(),
              crl.value("in_force", false) ? "in force" : ("not in force: " + trouble).c_str());
  for (const auto& list : crl.value("lists", json::array()))
    std::printf("  %s: %llu revoked, next update %s\n", text_in(list, "issuer").c_str(),
                static_cast<unsigned long long>(list.value("revoked", 0ULL)), text_in(list, "next_update").c_str());
}

void show_trust(Context& context, bool as_json) {
  admin::v1::Request request;
  request.mutable_trust_show();
  auto answer = admin_json(context, request, 5000);
  if (!answer) return fail(context, answer.error());
  if (as_json) {
    std::printf("%s\n", answer->dump(2).c_str());
    return;
  }
  for (const auto& root : answer->value("roots", json::array())) print_root(root);
  if (const auto crl = answer->find("crl"); crl != answer->end()) print_crl(*crl);
  for (const char* key : {"excluded", "dropped"})
    if (const auto all = list_in(*answer, key); !all.empty())
      std::printf("%s by %s: %s\n", key, std::string(key) == "excluded" ? "trust.exclude" : "hawser trust drop",
                  all.c_str());
}

void change(Context& context, const std::string& digest, bool allow) {
  std::string sha256;
  for (const char c : digest)
    if (c != ':') sha256 += static_cast<char>(c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
  if (sha256.size() != 64 || sha256.find_first_not_of("0123456789abcdef") != std::string::npos)
    return fail(context, Error(Code::kInvalidArgument, "HWS-CLI-020", "'" + digest + "' is not a certificate's SHA-256",
                               "hawser trust show tells them"));
  admin::v1::Request request;
  request.mutable_trust_change()->set_sha256(sha256);
  request.mutable_trust_change()->set_allow(allow);
  if (auto answer = admin_json(context, request, 5000); !answer) return fail(context, answer.error());
  std::printf(allow ? "%s may be trusted again\n" : "%s is trusted no more, whoever sends it\n", sha256.c_str());
}

}  // namespace

void add_trust(CLI::App& app, Context& context) {
  auto* trust = app.add_subcommand("trust", "Whom this host and its proxy believe");
  trust->require_subcommand(1);
  auto as_json = std::make_shared<bool>(false);
  auto* show_command = trust->add_subcommand(
      "show", "The roots that peers' certificates must lead to, who sends them, and for how long");
  show_command->add_flag("--json", *as_json, "Print as JSON");
  show_command->callback([&context, as_json] { show_trust(context, *as_json); });
  auto digest = std::make_shared<std::string>();
  auto* drop = trust->add_subcommand("drop", "Trust a root no more, whoever sends it");
  auto* allow = trust->add_subcommand("allow", "Take an earlier drop back");
  for (auto* command : {drop, allow})
    command->add_option("SHA256", *digest, "Of the root's DER, as trust show tells it")->required();
  drop->callback([&context, digest] { change(context, *digest, false); });
  allow->callback([&context, digest] { change(context, *digest, true); });
}

}  // namespace hawser::cli
