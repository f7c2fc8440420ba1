// SPDX-License-Identifier: Apache-2.0
#include "relay_credentials.h"

namespace hawser {

std::function<xds::Credentials()> relay_credentials(Loop& loop, const certs::Rotation& rotation) {
  return [&loop, &rotation]() -> xds::Credentials {
    const auto identity = rotation.current();
    if (!identity || identity->expired_at(loop.wall())) return {};
    return {identity->key_pem, identity->chain_pem};
  };
}

std::function<Result<std::string>()> relay_token(Loop& loop, std::shared_ptr<certs::FileTokenSource> tokens) {
  return [&loop, tokens = std::move(tokens)]() -> Result<std::string> {
    auto token = tokens->read();
    if (!token || token->expired_at(loop.wall())) return std::string();
    return token->text.reveal();
  };
}

}  // namespace hawser
