// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"
#include "binaries/install.h"
#include "cli/command.h"
#include "proxy/binary_folder.h"

// What: the verbs of `hawser proxy`, one file each, and what they share.
namespace hawser::cli {

void add_proxy_allow(CLI::App& proxy, Context& context);
void add_proxy_config_dump(CLI::App& proxy, Context& context);
void add_proxy_connections(CLI::App& proxy, Context& context);
void add_proxy_gc(CLI::App& proxy, Context& context);
void add_proxy_history(CLI::App& proxy, Context& context);
void add_proxy_install(CLI::App& proxy, Context& context);
void add_proxy_list(CLI::App& proxy, Context& context);
void add_proxy_logs(CLI::App& proxy, Context& context);
void add_proxy_restart(CLI::App& proxy, Context& context);
void add_proxy_rollback(CLI::App& proxy, Context& context);
void add_proxy_status(CLI::App& proxy, Context& context);
void add_proxy_upgrade(CLI::App& proxy, Context& context);

proxy::BinaryFolder binary_store(const Context& context);

// The source of a binary with the flags that say why it is to be trusted.
struct SourceOptions {
  std::string source;
  std::string sha256;
  std::string minisign;
  std::string gpg;
  std::string signature;
};
void add_source_flags(CLI::App& command, SourceOptions& options);
// As binaries::install does it, by the configured user of proxies. Failure: HWS-CLI-044 too, for flags that don't fit.
Result<binaries::Installed> install_binary(const Context& context, const SourceOptions& options,
                                           const binaries::Say& say);

}  // namespace hawser::cli
