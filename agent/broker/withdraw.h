// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

// `hawser-broker --withdraw`: the last step of removing the package, when no broker runs any more.
namespace hawser::broker {

// What: takes out whatever rules of ours this network namespace has, and looks that none is left; needs no
// configuration, no state and no other program. Threading: blocking, alone in its process. Failure: exit codes of
// sysexits(3); 0 also when there was nothing. A running broker owns its table: then the kernel refuses, and so 69.
int withdraw();

}  // namespace hawser::broker
