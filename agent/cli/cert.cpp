// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/cert_export.h"
#include "cli/cert_verify.h"
#include "cli/command.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

void print(Context& context, const admin::v1::Request& request, bool as_json, int timeout_ms) {
  auto answer = admin_json(context, request, timeout_ms);
  if (!answer) return fail(context, answer.error());
  const auto& cert = *answer;
  if (as_json) {
    std::printf("%s\n", cert.dump(2).c_str());
    return;
  }
  for (const char* key :
       {"spiffe_id", "serial", "issuer", "source", "not_before", "not_after", "next_renewal", "presented_serial"})
    if (const auto text = text_in(cert, key); !text.empty()) std::printf("%-17s %s\n", key, text.c_str());
  for (const auto& one : cert.value("chain", nlohmann::json::array()))
    std::printf("%-17s %s, %s, serial %s, %s to %s\n", "chain",
                text_in(one, "subject").empty() ? "(no subject)" : text_in(one, "subject").c_str(),
                text_in(one, "key").c_str(), text_in(one, "serial").c_str(), text_in(one, "not_before").c_str(),
                text_in(one, "not_after").c_str());
}

}  // namespace

void add_cert(CLI::App& app, Context& context) {
  auto* cert = app.add_subcommand("cert", "The host's certificate");
  cert->require_subcommand(1);
  auto as_json = std::make_shared<bool>(false);
  auto* show = cert->add_subcommand(
      "show", "SPIFFE id, chain, lifetimes, next renewal, source, and what the proxy presents now");
  show->add_flag("--json", *as_json, "Print as JSON");
  show->callback([&context, as_json] {
    admin::v1::Request request;
    request.mutable_cert_show();
    print(context, request, *as_json, 5000);
  });
  auto* renew = cert->add_subcommand("renew", "Ask for a new certificate now; returns when it is in force");
  renew->add_flag("--json", *as_json, "Print as JSON");
  // Each request of the operator asks at once; the flag says so.
  auto force = std::make_shared<bool>(false);
  renew->add_flag("--force", *force, "Also while a request that failed waits for its next attempt: ask at once");
  renew->callback([&context, as_json, force] {
    admin::v1::Request request;
    request.mutable_cert_renew();
    print(context, request, *as_json, 30000);
  });
  add_cert_export(*cert, context);
  add_cert_verify(*cert, context);
}

}  // namespace hawser::cli
