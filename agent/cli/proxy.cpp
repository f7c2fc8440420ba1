// SPDX-License-Identifier: Apache-2.0
#include "cli/proxy.h"

#include <CLI/CLI.hpp>

namespace hawser::cli {

proxy::BinaryFolder binary_store(const Context& context) {
  return proxy::BinaryFolder(context.state_dir + "/proxy/bin");
}

void add_proxy(CLI::App& app, Context& context) {
  auto* proxy = app.add_subcommand("proxy", "The proxy, and the binaries that the broker may start");
  proxy->require_subcommand(1);
  add_proxy_install(*proxy, context);
  add_proxy_list(*proxy, context);
  add_proxy_upgrade(*proxy, context);
  add_proxy_rollback(*proxy, context);
  add_proxy_restart(*proxy, context);
  add_proxy_allow(*proxy, context);
  add_proxy_gc(*proxy, context);
  add_proxy_status(*proxy, context);
  add_proxy_history(*proxy, context);
  add_proxy_connections(*proxy, context);
  add_proxy_config_dump(*proxy, context);
  add_proxy_logs(*proxy, context);
}

}  // namespace hawser::cli
