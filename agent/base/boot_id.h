// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

namespace hawser {

// What: the kernel's name of this boot; another one after a reboot. Threading: any; a read of /proc. Failure: empty.
std::string boot_id();

}  // namespace hawser
