// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"

// What: istiod's debug types as state-of-the-world requests, and its answers as JSON. `syncz` is a type of its own
// (istio.io/debug/syncz, answered with envoy.service.status.v3.ClientConfig); everything else is one resource of the
// type istio.io/debug, named like istiod's debug page ("edsz?proxyID=vm.demo") and answered with the page's text.
// Threading: pure functions. Failure: HWS-XDS-033.
namespace hawser::xds {

struct DebugQuestion {
  std::string type;      // "syncz", "config_dump", "edsz", "ndsz", …; with or without "istio.io/debug/"
  std::string resource;  // whose: NAME.NAMESPACE of a proxy; empty: this host's own. A whole query ("a=b&c=d"): as is.
};

struct DebugRequest {
  std::string type_url;
  std::string name;   // empty: none
  std::string bytes;  // DiscoveryRequest, with a node
};
// `host_node`: the serving proxy's. The question is asked under another name, since istiod picks proxies by name and
// would find the asking stream itself.
Result<DebugRequest> make_debug_request(const DebugQuestion& question, const std::string& host_node);

// {"type", "type_url", "name", "resources": [...]}: JSON where the plane sent JSON, {"text"} for other text,
// {"type_url", "base64"} for what isn't text.
Result<std::string> debug_json(const DebugQuestion& question, const DebugRequest& request, const std::string& response);

}  // namespace hawser::xds
