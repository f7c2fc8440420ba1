// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hawser::xds {

// One field of a serialised message, as it stands there.
struct WireField {
  std::uint32_t number = 0;
  bool is_bytes = false;   // a string, bytes or message: only then there is a value
  std::string_view whole;  // tag, length and value
  std::string_view value;
};

// What: goes over the fields of a protobuf message that lies in one piece, without knowing its type.
// Threading: none. Failure: next() ends early and malformed() says so; groups count as malformed.
class WireCursor {
 public:
  explicit WireCursor(std::string_view message) : rest_(message) {}

  std::optional<WireField> next() {
    if (rest_.empty() || malformed_) return std::nullopt;
    const char* start = rest_.data();
    const auto tag = varint();
    if (!tag || *tag >> 3 == 0 || *tag > 0xffffffffU) return fail();
    WireField out;
    out.number = static_cast<std::uint32_t>(*tag >> 3);
    switch (*tag & 7) {
      case 0:
        if (!varint()) return fail();
        break;
      case 1:
        if (!skip(8)) return fail();
        break;
      case 2: {
        const auto length = varint();
        if (!length || *length > rest_.size()) return fail();
        out.is_bytes = true;
        out.value = rest_.substr(0, *length);
        rest_.remove_prefix(*length);
        break;
      }
      case 5:
        if (!skip(4)) return fail();
        break;
      default:
        return fail();
    }
    out.whole = {start, static_cast<std::size_t>(rest_.data() - start)};
    return out;
  }
  bool malformed() const { return malformed_; }

 private:
  std::optional<WireField> fail() {
    malformed_ = true;
    return std::nullopt;
  }
  bool skip(std::size_t bytes) {
    if (rest_.size() < bytes) return false;
    rest_.remove_prefix(bytes);
    return true;
  }
  std::optional<std::uint64_t> varint() {
    if (!rest_.empty() && static_cast<unsigned char>(rest_.front()) < 0x80) {
      const auto out = static_cast<std::uint64_t>(rest_.front());
      rest_.remove_prefix(1);
      return out;
    }
    std::uint64_t out = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return out;
    }
    return std::nullopt;
  }

  std::string_view rest_;
  bool malformed_ = false;
};

// The last value of a string, bytes or message field; empty if it isn't there.
inline std::string_view wire_value(std::string_view message, std::uint32_t number) {
  std::string_view out;
  WireCursor cursor(message);
  while (const auto field = cursor.next()) {
    if (field->number == number && field->is_bytes) out = field->value;
  }
  return out;
}

inline void append_wire_bytes(std::string& out, std::uint32_t number, std::string_view value) {
  const auto varint = [&out](std::uint64_t left) {
    for (; left >= 0x80; left >>= 7) out.push_back(static_cast<char>((left & 0x7f) | 0x80));
    out.push_back(static_cast<char>(left));
  };
  varint(std::uint64_t{number} << 3 | 2);
  varint(value.size());
  out.append(value);
}

}  // namespace hawser::xds
