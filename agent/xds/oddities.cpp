// SPDX-License-Identifier: Apache-2.0
#include "xds/oddities.h"

#include "base/log.h"
#include "base/result.h"
#include "xds/types.h"

namespace hawser::xds {
namespace {

// The plane may call a type what it likes.
constexpr std::size_t kMaxShown = 128;

}  // namespace

void Oddities::new_stream() {
  last_nonces_.clear();
  told_.clear();
}

void Oddities::look_at(const Envelope& envelope) {
  std::string& last = last_nonces_[envelope.type_url];
  if (envelope.nonce.empty()) {
    note("no_nonce", "a " + short_name(envelope.type_url) + " response without a nonce can't be acknowledged");
  } else if (envelope.nonce == last) {
    note("repeated_nonce", "two " + short_name(envelope.type_url) + " responses in a row have the same nonce");
  }
  last = envelope.nonce;
}

void Oddities::unasked(const std::string& type) {
  note("unasked_type", "a response of the type " + type.substr(0, kMaxShown) + ", which nobody asked for, is ignored");
}

void Oddities::note(const std::string& kind, const std::string& what) {
  metrics_.add("hawser_xds_oddities_total", "Responses of the control plane that break the protocol harmlessly.",
               {{"kind", kind}});
  if (!told_.insert(kind).second) return;
  const Error error(Code::kInvalidArgument, "HWS-XDS-042", what,
                    "nothing to do on this host: tell who runs the control plane");
  log::warn("the control plane's stream is odd", {{"cause", error.to_string()}});
}

}  // namespace hawser::xds
