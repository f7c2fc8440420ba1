// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "bootstrap/node.h"

// What: the bootstrap that an Envoy generation is started with, as JSON text: its admin on a Unix socket, ADS and SDS
// over our sockets, the two static listeners for probes and scrapers, and one by which its workers can be asked alone
// (own_listeners.h). Pure. (JSON, since YAML would read `id: n` as
// a boolean.)
namespace hawser::bootstrap {

struct EnvoyOptions {
  NodeOptions node;
  std::string generation;  // f1e0
  std::string admin_folder = "/run/hawser/proxy";
  std::string xds_socket = "/run/hawser/xds.sock";
  std::string sds_socket = "/run/hawser/sds.sock";
  unsigned status_port = 15020;
  bool ipv6 = true;  // the kernel has it
};

std::string envoy_bootstrap(const EnvoyOptions& options);

}  // namespace hawser::bootstrap
