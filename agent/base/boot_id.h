// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

namespace hawser {

// What: the name of this boot; another one after a reboot. The kernel's own id, with the time at which /run was made:
// of a container the host's id may be all that is seen, for a unit with ProtectProc= has a /proc of its own. Threading:
// any; a read of /proc. Failure: empty.
std::string boot_id();

}  // namespace hawser
