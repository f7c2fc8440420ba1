// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

// What: the tiny single-threaded process that is a proxy's parent for life (`hawser-broker --hold RECORD`). Envoy with
// hot restart asks the kernel to be killed when its parent dies, so the parent must be neither the broker nor hawserd.
// In a session of its own, deaf to SIGHUP, SIGINT and SIGTERM, it starts the program as the proxy's user, records its
// exit status, and then becomes that user itself to unlink what only that user may unlink.
//
// It tells its starter over standard output, once: "ok\n", or "error: …\n". Capabilities it keeps while it waits:
// setuid and setgid. Not kill: should the holder be killed itself, the kernel sends the parent-death signal on its
// behalf, and without that capability it may not signal another user's process. So the proxy lives on; only its status
// is lost. Failure: exit status 0 when the program was started (or swept), 71 otherwise.
namespace hawser::proxy {

// `record` is a file written by DirectLauncher.
int hold(const std::string& record);
// Only the last part: for a generation whose holder was killed.
int sweep(const std::string& record);

}  // namespace hawser::proxy
