// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "netfilter/plan.h"

namespace hawser::broker::v1 {
class Intent;
}

// What: netfilter::Intent as broker.sock carries it. Pure and without checks: compile() has them.
namespace hawser::broker {

netfilter::Intent to_intent(const v1::Intent& proto);
void to_proto(const netfilter::Intent& intent, v1::Intent& out);

}  // namespace hawser::broker
