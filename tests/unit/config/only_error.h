// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "config/load.h"

// What a text is refused for, as a user reads it; all of it where there isn't just one reason.
namespace hawser::config {

inline std::string only_error(const std::string& text) {
  const Loaded loaded = parse(text, "h.yaml");
  if (loaded.errors.size() == 1) return loaded.errors[0].to_string();
  std::string all = std::to_string(loaded.errors.size()) + " errors";
  for (const auto& error : loaded.errors) all += "\n" + error.to_string();
  return all;
}

}  // namespace hawser::config
