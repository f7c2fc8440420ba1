// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "certs/secret.h"

namespace hawser::certs {

// A text of a kubeconfig: the value itself, or the file that holds it.
struct KubeText {
  Secret text;
  std::string file;
  bool empty() const { return text.empty() && file.empty(); }
};

// A credential plugin (client.authentication.k8s.io).
struct KubePlugin {
  std::string api_version;
  std::string command;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> env;
  bool cluster_info = false;  // provideClusterInfo
};

// How to reach one API server, as one of its users.
struct KubeAccess {
  std::string server;  // as written
  std::string host;
  std::uint16_t port = 443;
  std::string path;         // before /api, without a slash at its end
  std::string server_name;  // for TLS
  KubeText roots;
  KubeText chain;
  KubeText key;
  KubeText token;
  std::optional<KubePlugin> plugin;
};

// What: the context `context` (empty: the current one) of a kubeconfig, by kubectl's rules. `path` is what errors call
// the file, and names relative to its folder are made whole. Pure. What would weaken the connection or isn't known is
// refused and not left out in silence. Failure, with file:line:column: HWS-ID-040 (not a kubeconfig), HWS-ID-041
// (asks for what Hawser doesn't do), HWS-ID-042 (the context, cluster or user isn't there).
Result<KubeAccess> parse_kubeconfig(const std::string& text, const std::string& path, const std::string& context);

// The bytes of standard base64, white space aside; none if it isn't that.
std::optional<std::string> decode_base64(const std::string& text);

}  // namespace hawser::certs
