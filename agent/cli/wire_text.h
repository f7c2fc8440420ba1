// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

// What: protobuf bytes as text without their schema, as `protoc --decode_raw` has it: field numbers, and a nested
// message wherever the bytes may be one. Threading: pure. Failure: bytes that are no message are shown as text.
namespace hawser::cli {

std::string wire_text(std::string_view bytes);

}  // namespace hawser::cli
