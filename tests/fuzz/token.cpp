// SPDX-License-Identifier: Apache-2.0
// What comes in place of a token: of a file or a program, of a metadata server, of an API server, of a plugin.
#include "certs/token.h"

#include "certs/token_gce.h"
#include "certs/token_kubernetes.h"
#include "targets.h"

namespace hawser::fuzz {
namespace {

bool is_word(std::string_view text) {
  for (const char c : text)
    if (c <= ' ' || c >= '\x7f') return false;
  return !text.empty();
}

void require_word(const Result<certs::Token>& token) {
  require(!token || is_word(token->text.reveal()), "a token fits into a header");
}

}  // namespace

void jwt(std::string_view bytes) {
  const auto claims = certs::token_claims(bytes);
  require(certs::token_expiry(bytes) == (claims ? claims->expires : std::nullopt), "one end, whoever asks");
  const auto token = certs::parse_token(std::string(bytes));
  require(!token || is_word(token->text.reveal()), "a token fits into a header");
}

// The first byte is the status, by hundreds and by ones; the second whether the metadata server says who it is.
void token_answer(std::string_view bytes) {
  if (bytes.size() < 2) return;
  certs::HttpAnswer answer;
  const auto byte = static_cast<unsigned char>(bytes[0]);
  answer.status = 100 * (byte >> 5U) + (byte & 31U);
  if (bytes[1] == '1') answer.headers["metadata-flavor"] = "Google";
  answer.body = certs::Secret::copy_of(bytes.substr(2));
  const Loop::Wall now{std::chrono::seconds(1'700'000'000)};
  const auto google = certs::parse_identity_answer(answer, "istio-ca", now);
  require_word(google);
  require(!google || (bytes[1] == '1' && answer.status == 200 && google->expires > now), "only a good one is taken");
  const auto kubernetes = certs::parse_token_request_answer(answer, "istio-ca");
  require_word(kubernetes);
  if (!kubernetes)
    for (const char c : kubernetes.error().to_string()) require(c >= ' ' || c < 0, "nothing draws on a terminal");
  const auto plugin = certs::parse_plugin_credential(bytes.substr(2));
  require(!plugin || plugin->chain_pem.empty() == plugin->key.empty(), "a certificate comes with its key");
}

void kubeconfig(std::string_view bytes) {
  const auto access = certs::parse_kubeconfig(std::string(bytes), "/etc/kube/config", "");
  if (!access) return require(!access.error().id().empty() && !access.error().where().empty(), "a place is named");
  require(!access->host.empty() && access->port != 0, "there is somebody to ask");
  require(access->server.starts_with("https://"), "nothing goes in clear");
  require(!access->roots.empty(), "the server is known by its root");
  require(access->host.find_first_of("@/?# \r\n") == std::string::npos, "a host is a host");
  require(access->path.find_first_of("?# \r\n") == std::string::npos, "a path is a path");
}

}  // namespace hawser::fuzz
