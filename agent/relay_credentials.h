// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "certs/rotation.h"
#include "certs/token_file.h"
#include "xds/options.h"

namespace hawser {

// What: what the relay shows the control plane at each attempt: the certificate in force, and the token if it's still
// good. An absent or expired token is no obstacle: the certificate proves who we are. Threading: on the loop.
std::function<xds::Credentials()> relay_credentials(Loop& loop, const certs::Rotation& rotation);
std::function<Result<std::string>()> relay_token(Loop& loop, std::shared_ptr<certs::FileTokenSource> tokens);

}  // namespace hawser
