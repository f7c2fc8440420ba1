// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace hawser::dial {

// What: is this host reached without the HTTP proxy? Entries are a name, `.example.com` for all below it, an address or
// a CIDR; names are compared without regard to case, and addresses only with addresses: nothing is looked up.
// Threading: pure. Failure: an entry that is none of these matches nothing.
bool bypasses_proxy(const std::string& host, const std::vector<std::string>& no_proxy);

}  // namespace hawser::dial
