// SPDX-License-Identifier: Apache-2.0
#include "certs/token_kubernetes.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/log.h"

namespace hawser::certs {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFile = 1UL << 20U;
constexpr int kLifeSeconds = 3600;
constexpr std::size_t kMaxSaid = 200;
constexpr std::size_t kMaxWord = 64;

std::string text_at(const json& document, const char* part, const char* name) {
  const auto found = document.find(part);
  if (found == document.end() || !found->is_object()) return {};
  const auto value = found->find(name);
  return value != found->end() && value->is_string() ? value->get<std::string>() : std::string();
}

// The API server's own words about a refusal, but nothing that could be a secret or draw on a terminal.
std::string said_in(std::string_view body) {
  const auto document = json::parse(body, nullptr, false);
  if (!document.is_object()) return {};
  const auto found = document.find("message");
  if (found == document.end() || !found->is_string()) return {};
  std::string out;
  std::string word;
  for (const char c : found->get<std::string>() + " ") {
    if (c > ' ' && c < '\x7f') {
      word += c;
      continue;
    }
    if (!word.empty()) out += (out.empty() ? "" : " ") + (word.size() > kMaxWord ? std::string("…") : word);
    word.clear();
    if (out.size() > kMaxSaid) break;
  }
  return out.empty() ? out : ": " + out.substr(0, kMaxSaid);
}

Result<Secret> content_of(KubeText& text) {
  if (text.file.empty()) return std::move(text.text);
  auto content = file::read_bounded(text.file, kMaxFile);
  if (content) return Secret(std::move(*content));
  return Error(content.error().code(), "HWS-ID-040", content.error().message(),
               "the kubeconfig names it; hawserd's user must be able to read it");
}

// RFC 1123, as the API server has them: nothing of it may lead elsewhere in a URL.
bool is_name(const std::string& text) {
  const auto fine = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  return !text.empty() && text.size() <= 253 && text.front() != '.' && std::all_of(text.begin(), text.end(), fine);
}

std::string plugin_input(const KubePlugin& plugin, const KubeAccess& access, const std::string& roots_base64) {
  json info = {{"apiVersion", plugin.api_version}, {"kind", "ExecCredential"}, {"spec", {{"interactive", false}}}};
  if (plugin.cluster_info)
    info["spec"]["cluster"] = {{"server", access.server},
                               {"tls-server-name", access.server_name},
                               {"certificate-authority-data", roots_base64}};
  return info.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string base64_of(const std::string& bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // OpenSSL writes a NUL at the end
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

}  // namespace

Result<PluginCredential> parse_plugin_credential(std::string_view text) {
  const auto document = json::parse(text, nullptr, false);
  const Error bad(Code::kFailedPrecondition, "HWS-ID-047", "the kubeconfig's plugin printed no credential",
                  "run it by hand: its output is an ExecCredential with a status");
  if (!document.is_object()) return bad;
  PluginCredential out;
  out.token = Secret(text_at(document, "status", "token"));
  out.chain_pem = text_at(document, "status", "clientCertificateData");
  out.key = Secret(text_at(document, "status", "clientKeyData"));
  if (out.chain_pem.empty() != out.key.empty() || (out.token.empty() && out.chain_pem.empty())) return bad;
  return out;
}

Result<Token> parse_token_request_answer(const HttpAnswer& answer, const std::string& audience) {
  const std::string_view body = answer.body.reveal();
  const int status = answer.status;
  if (status != 200 && status != 201) {
    const bool passes = status == 429 || status >= 500;
    const bool unknown = status == 404;
    return Error(passes ? Code::kUnavailable : Code::kFailedPrecondition, "HWS-ID-045",
                 "the API server makes no token (" + std::to_string(status) + ")" + said_in(body),
                 passes    ? "none, it is asked again"
                 : unknown ? "mesh.namespace and workload.service_account, which must be there"
                           : "the kubeconfig's user needs 'create' on serviceaccounts/token");
  }
  const auto document = json::parse(body, nullptr, false);
  auto token = document.is_object() ? parse_token(text_at(document, "status", "token")) : std::nullopt;
  const auto claims = token ? token_claims(token->text.reveal()) : std::nullopt;
  const Error bad(Code::kFailedPrecondition, "HWS-ID-046",
                  "the API server's answer holds no token for '" + audience + "'",
                  "look whether it is a Kubernetes API server that the kubeconfig names");
  if (!claims) return bad;
  const auto& named = claims->audiences;
  if (std::find(named.begin(), named.end(), audience) == named.end()) return bad;
  return std::move(*token);
}

void KubernetesTokenSource::warn_if_open() {
  struct stat info {};
  if (warned_ || ::stat(options_.kubeconfig.c_str(), &info) != 0 || (info.st_mode & 07U) == 0) return;
  warned_ = true;
  log::warn("the kubeconfig can be read by others, who can then do what its user can",
            {{"path", options_.kubeconfig}, {"id", "HWS-ID-043"}, {"fix", "chmod o= " + options_.kubeconfig}});
}

Result<PluginCredential> KubernetesTokenSource::ask_plugin(const KubeAccess& access, const std::string& roots_pem) {
  Command command;
  command.argv = {access.plugin->command};
  command.argv.insert(command.argv.end(), access.plugin->arguments.begin(), access.plugin->arguments.end());
  command.env = access.plugin->env;
  command.env["KUBERNETES_EXEC_INFO"] = plugin_input(*access.plugin, access, base64_of(roots_pem));
  command.timeout = options_.timeout;
  command.max_output = kMaxFile;
  auto printed = run_.run(command);
  if (printed) {
    const Secret text(std::move(*printed));
    return parse_plugin_credential(text.reveal());
  }
  Error error(printed.error().code(), "HWS-ID-047", "the kubeconfig's plugin failed",
              "run it as hawserd's user: sudo -u hawser " + access.plugin->command);
  return error.because(printed.error());
}

// Where to, and as whom; the rest of the request is still open.
Result<HttpRequest> KubernetesTokenSource::connect() {
  warn_if_open();
  auto text = file::read_bounded(options_.kubeconfig, kMaxFile);
  if (!text)
    return Error(text.error().code(), "HWS-ID-040", text.error().message(),
                 "identity.token.kubeconfig; hawserd's user must be able to read it");
  const Secret kept(std::move(*text));
  auto access = parse_kubeconfig(std::string(kept.reveal()), options_.kubeconfig, options_.context);
  if (!access) return access.error();
  HttpRequest request;
  request.host = access->host;
  request.port = access->port;
  request.target = access->path;
  request.tls.emplace();
  request.tls->name = access->server_name;
  PluginCredential who;
  for (auto [from, to] :
       {std::pair{&access->chain, &who.chain_pem}, std::pair{&access->roots, &request.tls->roots_pem}}) {
    auto content = content_of(*from);
    if (!content) return content.error();
    *to = std::string(content->reveal());
  }
  for (auto [from, to] : {std::pair{&access->key, &who.key}, std::pair{&access->token, &who.token}}) {
    auto content = content_of(*from);
    if (!content) return content.error();
    *to = std::move(*content);
  }
  if (access->plugin) {
    auto made = ask_plugin(*access, request.tls->roots_pem);
    if (!made) return made.error();
    who = std::move(*made);
  }
  request.tls->chain_pem = who.chain_pem;
  request.tls->key = std::move(who.key);
  if (auto bearer = parse_token(std::string(who.token.reveal())))
    request.headers["Authorization"] = "Bearer " + std::string(bearer->text.reveal());
  return request;
}

Result<Token> KubernetesTokenSource::attest(const Challenge& challenge) {
  const std::string& audience = challenge.audience.empty() ? options_.audience : challenge.audience;
  if (!is_name(options_.ns) || !is_name(options_.service_account))
    return Error(Code::kInvalidArgument, "HWS-ID-045", "namespace or service account is no name of Kubernetes",
                 "mesh.namespace and workload.service_account");
  auto request = connect();
  if (!request) return request.error();
  request->method = "POST";
  request->target += "/api/v1/namespaces/" + options_.ns + "/serviceaccounts/" + options_.service_account + "/token";
  request->headers["Content-Type"] = "application/json";
  request->headers["Accept"] = "application/json";
  request->body = json{{"apiVersion", "authentication.k8s.io/v1"},
                       {"kind", "TokenRequest"},
                       {"spec", {{"audiences", {audience}}, {"expirationSeconds", kLifeSeconds}}}}
                      .dump(-1, ' ', false, json::error_handler_t::replace);
  request->timeout = options_.timeout;
  request->max_body = kMaxFile;
  auto answer = call_.run(*request);
  if (answer) return parse_token_request_answer(*answer, audience);
  Error error(answer.error().code(), "HWS-ID-044", "the Kubernetes API server gives no token",
              "the server and certificate-authority of the kubeconfig; a firewall on the way");
  return error.because(answer.error());
}

void KubernetesTokenSource::cancel() {
  call_.cancel();
  run_.cancel();
}

}  // namespace hawser::certs
