// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "netfilter/emit_xtables.h"
#include "netfilter/evaluate.h"

// What: what the entries of xtables do to a packet, chain by chain. Of the outcome it has kind, port, marks and zone.
namespace hawser::netfilter {

Outcome walk_xtables(const XtablesForm& form, const Packet& packet);

}  // namespace hawser::netfilter
