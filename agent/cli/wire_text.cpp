// SPDX-License-Identifier: Apache-2.0
#include "cli/wire_text.h"

#include <google/protobuf/io/coded_stream.h>

#include <cctype>
#include <cstdint>
#include <cstdio>

namespace hawser::cli {
namespace {

using google::protobuf::io::CodedInputStream;

constexpr int kDeepest = 40;
enum WireType : std::uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

bool printable(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 && c != '\n' && c != '\t') return false;
    if (byte == 0x7f) return false;
  }
  return true;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  char escaped[8];
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      std::snprintf(escaped, sizeof escaped, "\\%03o", byte);
      out += escaped;
    }
  }
  return out + "\"";
}

bool message_text(std::string_view bytes, int depth, std::string& out);

void value_text(std::string_view value, int depth, std::string& out) {
  std::string nested;
  const std::string indent(static_cast<std::size_t>(depth) * 2, ' ');
  // Text that could be a message as well is nearly always text.
  const bool text = value.empty() || (printable(value) && std::isalnum(static_cast<unsigned char>(value.front())));
  if (!text && depth < kDeepest && message_text(value, depth + 1, nested)) {
    out += " {\n" + nested + indent + "}\n";
  } else {
    out += ": " + quoted(value) + "\n";
  }
}

bool field_text(CodedInputStream& in, std::uint32_t tag, int depth, std::string& out) {
  const std::uint32_t number = tag >> 3;
  if (number == 0) return false;
  out += std::string(static_cast<std::size_t>(depth) * 2, ' ') + std::to_string(number);
  char hex[32];
  switch (tag & 7) {
    case kVarint: {
      std::uint64_t value = 0;
      if (!in.ReadVarint64(&value)) return false;
      out += ": " + std::to_string(value) + "\n";
      return true;
    }
    case kFixed64: {
      std::uint64_t value = 0;
      if (!in.ReadLittleEndian64(&value)) return false;
      std::snprintf(hex, sizeof hex, ": 0x%016llx\n", static_cast<unsigned long long>(value));
      out += hex;
      return true;
    }
    case kFixed32: {
      std::uint32_t value = 0;
      if (!in.ReadLittleEndian32(&value)) return false;
      std::snprintf(hex, sizeof hex, ": 0x%08x\n", value);
      out += hex;
      return true;
    }
    case kBytes: {
      std::uint32_t length = 0;
      std::string value;
      if (!in.ReadVarint32(&length) || !in.ReadString(&value, static_cast<int>(length))) return false;
      value_text(value, depth, out);
      return true;
    }
    default:
      return false;
  }
}

bool message_text(std::string_view bytes, int depth, std::string& out) {
  CodedInputStream in(reinterpret_cast<const std::uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  for (;;) {
    const std::uint32_t tag = in.ReadTag();
    if (tag == 0) return in.ConsumedEntireMessage();
    if (!field_text(in, tag, depth, out)) return false;
  }
}

}  // namespace

std::string wire_text(std::string_view bytes) {
  std::string out;
  if (message_text(bytes, 0, out)) return out;
  return quoted(bytes) + "\n";
}

}  // namespace hawser::cli
