// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"

// What: YAML files → Config. Later files win: vendor defaults, hawser.yaml, then conf.d/*.yaml by name. Unknown keys
// are errors with a suggestion. Threading: blocking file reads; at start and on join. Failure: HWS-CF-001 (unreadable),
// HWS-CF-002 (not YAML), HWS-CF-003 (unknown key), HWS-CF-004 (bad value), HWS-CF-005 (incomplete),
// HWS-CF-006 (unknown user or group); all with file:line:column where there is one.
namespace hawser::config {

struct Paths {
  std::string vendor_dir = "/usr/lib/hawser";
  std::string main_file = "/etc/hawser/hawser.yaml";
  std::string drop_in_dir = "/etc/hawser/conf.d";
};

struct Loaded {
  Config config;
  std::vector<Error> errors;       // empty: config is valid
  std::vector<std::string> files;  // that were read, in order
};

Loaded load(const Paths& paths);
// One document, for tests and `config check --file`. `name` is what errors call it.
Loaded parse(const std::string& text, const std::string& name);

Result<unsigned> resolve_user(const std::string& name_or_number);
// A name, a number, or numbers like 4001-4010.
Result<netfilter::IdRange> parse_user_range(const std::string& text);
Result<unsigned> resolve_group(const std::string& name_or_number);

}  // namespace hawser::config
