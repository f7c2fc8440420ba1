// SPDX-License-Identifier: Apache-2.0
#include "token_sources.h"

#include "certs/token_file.h"

namespace hawser {

std::shared_ptr<certs::TokenSource> make_token_source(const config::Config&, const certs::KeyStore& store) {
  return std::make_shared<certs::FileTokenSource>(store.token_path());
}

}  // namespace hawser
