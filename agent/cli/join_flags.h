// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"

namespace CLI {
class App;
}

// What: joining without a bundle: the flags of `hawser join` that stand for one, the drop-in that they make, and the
// token that comes with them, by a file or by standard input and never as an argument.
// Failure: HWS-CLI-013 (there's nothing to prove with), -014 (a token that wouldn't be used), -015 (no token in it),
// -016 (no root), -017 (not HOST:PORT).
namespace hawser::cli {

struct JoinFlags {
  std::string token_file;  // "-": standard input
  std::string token_source;
  std::string audience;
  std::string ca;
  std::string control_plane;
  std::string root;  // a PEM file
  std::string name;
  std::string group;
  std::string ns;
  std::string service_account;
  std::string trust_domain;
  std::string cluster_id;
  std::string mesh_id;
  std::string network;

  bool any() const;
};

void add_join_flags(CLI::App& command, JoinFlags& flags);
// The text of 50-join.yaml: what was given and nothing else, so that hawser.yaml has its say about the rest.
Result<std::string> join_text(const JoinFlags& flags);
// Empty without --token-file.
Result<std::string> join_token(const JoinFlags& flags);
// Of a file, or of standard input for -.
Result<std::string> load_token(const std::string& path);
// Will hawserd, as it is configured, have something to prove with? And will it use what it is given?
Status check_proof(const config::Config& config, bool token_given);

}  // namespace hawser::cli
