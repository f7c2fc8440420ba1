// SPDX-License-Identifier: Apache-2.0
#include "xds/snapshot/frames.h"

#include <zlib.h>

#include <cassert>

namespace hawser::xds::snapshot {
namespace {

constexpr std::size_t kFramesMagic = 8;
constexpr std::size_t kLength = 4;
constexpr std::size_t kChecksum = 4;

template <typename T>
void put(std::string& out, T value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

std::uint64_t get(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

void Crc32::add(std::string_view bytes) {
  value_ =
      static_cast<std::uint32_t>(::crc32_z(value_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

FrameWriter::FrameWriter(std::string_view magic) : bytes_(magic) {
  assert(magic.size() == kFramesMagic);
  crc_.add(magic);
}

void FrameWriter::add(std::string_view payload) {
  const std::size_t start = bytes_.size();
  put(bytes_, payload.size(), kLength);
  crc_.add(std::string_view(bytes_).substr(start, kLength));
  crc_.add(payload);
  put(bytes_, crc_.value(), kChecksum);
  bytes_.append(payload);
}

FrameReader::FrameReader(std::string_view magic, std::string_view bytes)
    : magic_(magic), rest_(bytes), size_(bytes.size()) {}

Error FrameReader::damaged(const std::string& why) const {
  return {Code::kDataLoss, "HWS-SN-002", "byte " + std::to_string(size_ - rest_.size()) + ": " + why};
}

Status FrameReader::open() {
  if (!rest_.starts_with(magic_)) return damaged("it doesn't begin as a snapshot file of this version does");
  crc_.add(magic_);
  rest_.remove_prefix(magic_.size());
  return {};
}

Result<std::string_view> FrameReader::next() {
  if (rest_.size() < kLength + kChecksum) return damaged("it ends within a record");
  const std::uint64_t length = get(rest_.substr(0, kLength));
  if (length > rest_.size() - kLength - kChecksum) return damaged("it ends within a record");
  const std::string_view payload = rest_.substr(kLength + kChecksum, length);
  crc_.add(rest_.substr(0, kLength));
  crc_.add(payload);
  if (crc_.value() != get(rest_.substr(kLength, kChecksum))) return damaged("a record's checksum is wrong");
  rest_.remove_prefix(kLength + kChecksum + length);
  return payload;
}

}  // namespace hawser::xds::snapshot
