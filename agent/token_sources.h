// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "certs/key_store.h"
#include "certs/token_cache.h"
#include "config/config.h"

namespace hawser {

// What: the TokenSource that identity.token chooses, with what keeps its tokens. Threading: any. Failure: none; what is
// wrong shows when it is read.
std::shared_ptr<certs::TokenCache> make_token_source(const config::Config& config, const certs::KeyStore& store);

}  // namespace hawser
