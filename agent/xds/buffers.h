// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <optional>
#include <string>

namespace hawser::xds {

// Takes the bytes over, without a copy.
grpc::ByteBuffer to_buffer(std::string bytes);
// Nullopt: gRPC couldn't unpack it.
std::optional<std::string> to_bytes(const grpc::ByteBuffer& buffer);

}  // namespace hawser::xds
