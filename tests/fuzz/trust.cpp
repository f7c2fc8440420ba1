// SPDX-License-Identifier: Apache-2.0
// The file of trusted roots. Its digest would keep a fuzzer out, so most inputs get a right one.
#include <nlohmann/json.hpp>

#include "certs/trust_state.h"
#include "certs/x509.h"
#include "targets.h"

namespace hawser::fuzz {

using namespace certs;

// A byte that says whether the content gets its digest, then the file, or its content.
void trust(std::string_view input) {
  if (input.empty()) return;
  std::string text(input.substr(1));
  if (static_cast<unsigned char>(input[0]) < 128) {
    const auto content = nlohmann::json::parse(text, nullptr, false);
    if (!content.is_object()) return;
    using Handler = nlohmann::json::error_handler_t;
    const std::string digest = sha256_hex(content.dump(-1, ' ', true, Handler::replace));
    const nlohmann::json file = {{"schema_version", 1}, {"sha256", digest}, {"content", content}};
    text = file.dump(-1, ' ', true, Handler::replace);
  }
  const auto state = parse_trust_state(text);
  if (!state) {
    require(state.error().id() == "HWS-TR-003", "damage is told as such");
    return;
  }
  for (const auto& root : state->roots) {
    require(split_bundle(root.pem).has_value(), "a root is a certificate");
    require(root.sources.empty() == root.retired_until.has_value(), "a root is sent by somebody, or retired");
  }
  const std::string built = build_trust_state(*state);
  const auto again = parse_trust_state(built);
  require(again && build_trust_state(*again) == built, "a state survives");
  std::string changed = built;
  const auto at = changed.find("\"content\"");
  changed[at + 3] = 'x';
  require(!parse_trust_state(changed), "a change is noticed");
  TrustBundle bundle({}, *again);
  (void)bundle.advance(Loop::Wall{});
  (void)bundle.server_roots(bundle.pem());
}

}  // namespace hawser::fuzz
