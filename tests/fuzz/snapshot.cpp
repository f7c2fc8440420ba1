// SPDX-License-Identifier: Apache-2.0
// The snapshot's files. Checksums would keep a fuzzer out, so most inputs are payloads that get right ones.
#include <algorithm>

#include "targets.h"
#include "xds/snapshot/addresses.h"
#include "xds/snapshot/frames.h"
#include "xds/snapshot/manifest.h"
#include "xds/snapshot/records.h"

namespace hawser::fuzz {
namespace {

using namespace xds::snapshot;

// Payloads, each after its length in two bytes.
std::string framed(std::string_view magic, std::string_view bytes) {
  FrameWriter writer(magic);
  while (bytes.size() >= 2) {
    const std::size_t length = static_cast<unsigned char>(bytes[0]) + 256U * static_cast<unsigned char>(bytes[1]);
    writer.add(bytes.substr(2, length));
    bytes.remove_prefix(std::min(bytes.size(), 2 + length));
  }
  return std::move(writer).finish();
}

std::string flipped(std::string bytes, std::size_t bit) {
  char& byte = bytes[bit / 8 % bytes.size()];
  byte = static_cast<char>(byte ^ (1 << bit % 8));
  return bytes;
}

void check_type(const std::string& bytes, std::size_t bit) {
  const auto type = records::parse(bytes);
  if (!type) return;
  std::vector<records::Item> items;
  for (const auto& resource : type->resources)
    items.push_back({resource.name, resource.version, resource.body, nullptr});
  std::string again_bytes;
  const auto written = records::write(type->header, items, [&](std::string_view piece) -> Status {
    again_bytes.append(piece);
    return {};
  });
  const auto again = records::parse(again_bytes);
  require(again.has_value() && written && again->checksum == written->checksum, "what is written is read");
  require(again->header.type_url == type->header.type_url && again->header.wildcard == type->header.wildcard &&
              again->header.accepted_at == type->header.accepted_at,
          "a header survives");
  require(again->resources.size() == type->resources.size(), "no resource is lost");
  for (std::size_t i = 0; i < type->resources.size(); ++i) {
    require(again->resources[i].name == type->resources[i].name && again->resources[i].body == type->resources[i].body,
            "a resource survives");
  }
  require(!records::parse(flipped(again_bytes, bit)), "a changed bit is noticed");
  require(!records::parse(std::string_view(again_bytes).substr(0, again_bytes.size() - 1 - bit % again_bytes.size())),
          "a cut is noticed");
}

void check_manifest(const std::string& bytes, std::size_t bit) {
  const auto manifest = parse_manifest(bytes);
  if (!manifest) return;
  for (const auto& type : manifest->types)
    require(type.file.find('/') == std::string::npos, "a manifest names files of its folder");
  const std::string built = build_manifest(*manifest);
  const auto again = parse_manifest(built);
  require(again && again->types.size() == manifest->types.size() && build_manifest(*again) == built,
          "a manifest survives");
  require(!parse_manifest(flipped(built, bit)), "a changed bit is noticed");
}

void check_addresses(const std::string& bytes, std::size_t bit) {
  const auto book = parse_addresses(bytes);
  if (!book) return;
  const std::string built = build_addresses(*book);
  const auto again = parse_addresses(built);
  require(again && build_addresses(*again) == built, "addresses survive");
  require(!parse_addresses(flipped(built, bit)), "a changed bit is noticed");
}

}  // namespace

void snapshot(std::string_view input) {
  // What kind of file, with its checksums or without, and which bit to turn around.
  if (input.size() < 3) return;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  const std::size_t bit = byte(1) + 256U * byte(2);
  const std::string_view bytes = input.substr(3);
  const bool raw = byte(0) >= 128;
  switch (byte(0) % 4) {
    case 0:
      return check_manifest(raw ? std::string(bytes) : framed("HWSXMF\n2", bytes), bit);
    case 1:
      return check_addresses(raw ? std::string(bytes) : framed("HWSADR\n2", bytes), bit);
    default:
      return check_type(raw ? std::string(bytes) : framed("HWSXDS\n2", bytes), bit);
  }
}

}  // namespace hawser::fuzz
