// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

// What: a generation's name and its Envoy command line. hawserd may add arguments of a fixed list only: everything that
// names a file or an address is the broker's own. Pure.
// Failure: HWS-BR-011 (name), HWS-BR-012 (argument).
namespace hawser::broker {

// f<family>e<epoch>: generations of a family share one Envoy base id and hand over by hot restart.
struct GenerationName {
  unsigned family = 0;  // 1…99
  unsigned epoch = 0;   // 0…9999

  unsigned base_id() const { return 4100 + family; }
};
Result<GenerationName> parse_generation(const std::string& text);

// `extra` has "--name", "value" or "--name=value".
Result<std::vector<std::string>> make_proxy_argv(const std::string& binary, const std::string& bootstrap,
                                                 const GenerationName& name, const std::vector<std::string>& extra);

// Envoy names its shared memory after ten times the base id.
std::string shared_memory_name(const GenerationName& name);

}  // namespace hawser::broker
