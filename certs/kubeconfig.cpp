// SPDX-License-Identifier: Apache-2.0
#include "certs/kubeconfig.h"

#include <openssl/evp.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>

namespace hawser::certs {
namespace {

constexpr char kView[] = "kubectl config view shows what is there";

// Once something is wrong the rest is skipped: `problem` is the first.
struct Reader {
  const std::string& path;
  std::optional<Error> problem;

  void fail(const YAML::Node& at, std::string id, std::string message, std::string hint) {
    if (problem) return;
    Code code = id == "HWS-ID-041" ? Code::kUnimplemented : Code::kInvalidArgument;
    if (id == "HWS-ID-042") code = Code::kFailedPrecondition;
    problem = Error(code, std::move(id), std::move(message), std::move(hint));
    const YAML::Mark mark = at.IsDefined() ? at.Mark() : YAML::Mark::null_mark();
    problem->at(mark.is_null() ? path
                               : path + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1));
  }

  std::string whole(const std::string& file) const {
    if (file.empty() || file.front() == '/') return file;
    return path.substr(0, path.rfind('/') + 1) + file;
  }
};

std::string scalar(const YAML::Node& map, const char* key) {
  const YAML::Node value = map[key];
  return value.IsDefined() && value.IsScalar() ? value.Scalar() : std::string();
}

bool given(const YAML::Node& map, const char* key) {
  const YAML::Node value = map[key];
  return value.IsDefined() && !value.IsNull() && !(value.IsScalar() && value.Scalar().empty());
}

// Of a list of {name, <kind>: {…}}.
YAML::Node named(Reader& reader, const YAML::Node& document, const char* list, const char* kind,
                 const std::string& name) {
  for (const auto& item : document[list])
    if (item.IsMap() && scalar(item, "name") == name && item[kind].IsMap()) return item[kind];
  reader.fail(document[list], "HWS-ID-042", "there is no " + std::string(kind) + " '" + name + "' in it", kView);
  return YAML::Node(YAML::NodeType::Map);
}

// `data` is base64 under KEY-data, which wins over a file under KEY.
KubeText text_or_file(Reader& reader, const YAML::Node& map, const std::string& key) {
  KubeText out;
  const std::string data_key = key + "-data";
  if (const std::string data = scalar(map, data_key.c_str()); !data.empty()) {
    auto decoded = decode_base64(data);
    if (!decoded || decoded->empty()) reader.fail(map[data_key], "HWS-ID-040", data_key + " isn't base64", kView);
    if (decoded) out.text = Secret(std::move(*decoded));
    return out;
  }
  out.file = reader.whole(scalar(map, key.c_str()));
  return out;
}

// https://HOST[:PORT][/PATH]
void read_server(Reader& reader, const YAML::Node& cluster, KubeAccess& access) {
  constexpr std::string_view kScheme = "https://";
  access.server = scalar(cluster, "server");
  const auto bad = [&] { reader.fail(cluster["server"], "HWS-ID-040", "server isn't https://HOST[:PORT]", kView); };
  if (access.server.starts_with("http://"))
    return reader.fail(cluster["server"], "HWS-ID-041", "server is plain http, where anybody reads the credentials",
                       "give the API server's https address");
  if (!access.server.starts_with(kScheme)) return bad();
  std::string rest = access.server.substr(kScheme.size());
  if (const auto slash = rest.find('/'); slash != std::string::npos) {
    access.path = rest.substr(slash);
    rest.resize(slash);
    while (!access.path.empty() && access.path.back() == '/') access.path.pop_back();
  }
  const auto bracket = rest.find(']');
  const auto colon = rest.rfind(':');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    const char* end = rest.data() + rest.size();
    const auto [stop, wrong] = std::from_chars(rest.data() + colon + 1, end, access.port);
    if (wrong != std::errc() || stop != end || access.port == 0) return bad();
    rest.resize(colon);
  }
  if (rest.size() > 2 && rest.front() == '[' && rest.back() == ']') rest = rest.substr(1, rest.size() - 2);
  const auto odd = [](char c) {
    return c <= ' ' || c >= '\x7f' || std::string_view("@[]?#/\\").find(c) != std::string_view::npos;
  };
  const auto unsafe = [](char c) { return c <= ' ' || c >= '\x7f' || c == '?' || c == '#'; };
  if (rest.empty() || std::any_of(rest.begin(), rest.end(), odd) ||
      std::any_of(access.path.begin(), access.path.end(), unsafe))
    return bad();
  access.host = rest;
}

void read_cluster(Reader& reader, const YAML::Node& cluster, KubeAccess& access) {
  read_server(reader, cluster, access);
  if (scalar(cluster, "insecure-skip-tls-verify") == "true")
    reader.fail(cluster["insecure-skip-tls-verify"], "HWS-ID-041",
                "insecure-skip-tls-verify: whoever is in between would get the credentials",
                "take it out, and give certificate-authority");
  if (given(cluster, "proxy-url"))
    reader.fail(cluster["proxy-url"], "HWS-ID-041", "proxy-url isn't supported", "give an address without a proxy");
  access.server_name = given(cluster, "tls-server-name") ? scalar(cluster, "tls-server-name") : access.host;
  access.roots = text_or_file(reader, cluster, "certificate-authority");
  if (access.roots.empty())
    reader.fail(cluster, "HWS-ID-041", "there is no certificate-authority: the machine's own roots aren't taken",
                "give the cluster's certificate-authority or certificate-authority-data");
}

void read_plugin(Reader& reader, const YAML::Node& exec, KubeAccess& access) {
  KubePlugin plugin;
  plugin.api_version = scalar(exec, "apiVersion");
  if (plugin.api_version != "client.authentication.k8s.io/v1" &&
      plugin.api_version != "client.authentication.k8s.io/v1beta1")
    reader.fail(exec, "HWS-ID-041", "exec.apiVersion isn't client.authentication.k8s.io/v1",
                "use a plugin that speaks it");
  if (scalar(exec, "interactiveMode") == "Always")
    reader.fail(exec["interactiveMode"], "HWS-ID-041", "exec wants a terminal, and a service has none",
                "use a plugin that asks nobody");
  plugin.command = scalar(exec, "command");
  if (plugin.command.empty()) reader.fail(exec, "HWS-ID-040", "exec.command is missing", kView);
  if (plugin.command.find('/') != std::string::npos) plugin.command = reader.whole(plugin.command);
  for (const auto& word : exec["args"])
    if (word.IsScalar()) plugin.arguments.push_back(word.Scalar());
  for (const auto& item : exec["env"])
    if (item.IsMap()) plugin.env[scalar(item, "name")] = scalar(item, "value");
  plugin.cluster_info = scalar(exec, "provideClusterInfo") == "true";
  access.plugin = std::move(plugin);
}

void read_user(Reader& reader, const YAML::Node& user, KubeAccess& access) {
  for (const char* key : {"auth-provider", "username", "password", "as", "as-uid", "as-groups", "as-user-extra"})
    if (given(user, key))
      reader.fail(user[key], "HWS-ID-041", std::string(key) + " isn't supported",
                  "use a token, tokenFile, a client certificate or exec");
  access.chain = text_or_file(reader, user, "client-certificate");
  access.key = text_or_file(reader, user, "client-key");
  access.token.file = reader.whole(scalar(user, "tokenFile"));
  if (access.token.file.empty()) access.token.text = Secret(scalar(user, "token"));
  if (const YAML::Node exec = user["exec"]; exec.IsDefined() && exec.IsMap()) read_plugin(reader, exec, access);
  if (access.chain.empty() != access.key.empty())
    reader.fail(user, "HWS-ID-040", "client-certificate and client-key go together", kView);
  if (access.chain.empty() && access.token.empty() && !access.plugin)
    reader.fail(user, "HWS-ID-040", "the user has no credentials", kView);
}

void read_document(Reader& reader, const YAML::Node& document, const std::string& context, KubeAccess& access) {
  if (!document.IsMap()) return reader.fail(document, "HWS-ID-040", "isn't a kubeconfig", kView);
  const std::string chosen = context.empty() ? scalar(document, "current-context") : context;
  if (chosen.empty())
    return reader.fail(document, "HWS-ID-042", "there is no current-context", "set identity.token.context");
  const YAML::Node pair = named(reader, document, "contexts", "context", chosen);
  if (reader.problem) return;
  read_cluster(reader, named(reader, document, "clusters", "cluster", scalar(pair, "cluster")), access);
  if (!reader.problem) read_user(reader, named(reader, document, "users", "user", scalar(pair, "user")), access);
}

}  // namespace

Result<KubeAccess> parse_kubeconfig(const std::string& text, const std::string& path, const std::string& context) {
  Reader reader{path, {}};
  KubeAccess access;
  try {
    read_document(reader, YAML::Load(text), context, access);
  } catch (const YAML::Exception& error) {
    reader.fail(YAML::Node(), "HWS-ID-040", "isn't a kubeconfig: " + error.msg, kView);
    if (!error.mark.is_null())
      reader.problem->at(path + ":" + std::to_string(error.mark.line + 1) + ":" +
                         std::to_string(error.mark.column + 1));
  }
  if (reader.problem) return *reader.problem;
  return access;
}

std::optional<std::string> decode_base64(const std::string& text) {
  std::string packed;
  for (const char c : text)
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') packed += c;
  const auto padding = static_cast<std::size_t>(std::count(packed.begin(), packed.end(), '='));
  if (packed.size() % 4 != 0 || padding > 2 || packed.find('=') < packed.size() - padding) return std::nullopt;
  std::string out(packed.size() / 4 * 3, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(packed.data()), static_cast<int>(packed.size()));
  wipe(packed);
  if (length < 0) return std::nullopt;
  out.resize(static_cast<std::size_t>(length) - padding);
  return out;
}

}  // namespace hawser::certs
