// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "netfilter/plan.h"

namespace hawser::netfilter {

// Both directions and families; the proxy (882) and the agent (881) are exempt.
inline Intent basic() {
  Intent intent;
  intent.ipv6 = true;
  intent.exempt_uids = {882, 881};
  intent.exempt_gids = {882};
  return intent;
}

}  // namespace hawser::netfilter
