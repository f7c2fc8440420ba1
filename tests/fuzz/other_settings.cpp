// SPDX-License-Identifier: Apache-2.0
// Whatever another tool's file and flags say: it's refused in one line, or it becomes a configuration that we accept.
#include <algorithm>

#include "config/load.h"
#include "import/importer.h"
#include "targets.h"

namespace hawser::fuzz {
namespace {

// Users and groups are this machine's; two names may be one number.
bool of_this_machine(const Error& error) {
  return error.id() == "HWS-CF-006" || error.message().find(".exempt.") != std::string::npos ||
         error.message().find(".groups.") != std::string::npos;
}

void check(const Result<import::Imported>& imported) {
  if (!imported) {
    require(imported.error().id().rfind("HWS-IM-", 0) == 0, "a refusal has an importer's id");
    require(!imported.error().hint().empty(), "a refusal says what to do");
    return;
  }
  const auto loaded = config::parse(imported->yaml, "imported.yaml");
  for (const Error& error : loaded.errors) require(of_this_machine(error), "what is imported is accepted");
}

}  // namespace

// Lines of the environment's file, then a line "--", then an argument a line.
void other_settings(std::string_view bytes) {
  import::Input input;
  input.environment_name = "fuzz.env";
  const auto end = bytes.find("\n--\n");
  input.environment = std::string(bytes.substr(0, end));
  for (std::size_t at = end == std::string_view::npos ? bytes.size() : end + 4; at < bytes.size();) {
    const auto newline = std::min(bytes.find('\n', at), bytes.size());
    input.arguments.emplace_back(bytes.substr(at, newline - at));
    at = newline + 1;
  }
  check(import::import_istio(input));
  check(import::import_traffic_director(input));
}

}  // namespace hawser::fuzz
