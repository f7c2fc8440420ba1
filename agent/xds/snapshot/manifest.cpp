// SPDX-License-Identifier: Apache-2.0
#include "xds/snapshot/manifest.h"

#include <algorithm>

#include "hawser/snapshot.pb.h"
#include "xds/snapshot/frames.h"
#include "xds/snapshot/times.h"

namespace hawser::xds::snapshot {
namespace {

namespace v1 = hawser::snapshot::v1;

constexpr std::string_view kManifestMagic = "HWSXMF\n2";
// Its names become paths: only what file_name() in store.cpp makes is accepted.
bool plain_name(std::string_view name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

}  // namespace

const TypeFile* Manifest::find(std::string_view type_url) const {
  const auto found =
      std::find_if(types.begin(), types.end(), [&](const auto& type) { return type.type_url == type_url; });
  return found == types.end() ? nullptr : &*found;
}

std::uint64_t Manifest::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& type : types) sum += type.bytes;
  return sum;
}

std::string build_manifest(const Manifest& manifest) {
  v1::Manifest out;
  out.set_node_identity(manifest.node_identity);
  out.set_confirmed_plan(manifest.confirmed_plan);
  out.set_as_of_ms(unix_ms(manifest.as_of));
  out.set_sequence(manifest.sequence);
  for (const auto& type : manifest.types) {
    auto* item = out.add_types();
    item->set_type_url(type.type_url);
    item->set_file(type.file);
    item->set_checksum(type.checksum);
    item->set_bytes(type.bytes);
    item->set_resources(type.resources);
    item->set_system_version(type.system_version);
    item->set_accepted_ms(unix_ms(type.accepted_at));
    item->set_wildcard(type.wildcard);
  }
  FrameWriter writer(kManifestMagic);
  writer.add(out.SerializeAsString());
  return std::move(writer).finish();
}

Result<Manifest> parse_manifest(std::string_view bytes) {
  FrameReader reader(kManifestMagic, bytes);
  if (auto opened = reader.open(); !opened) return opened.error();
  const auto payload = reader.next();
  if (!payload) return payload.error();
  v1::Manifest in;
  if (!reader.at_end() || !in.ParseFromArray(payload->data(), static_cast<int>(payload->size())))
    return Error(Code::kDataLoss, "HWS-SN-002", "it isn't one manifest");
  Manifest out{in.node_identity(), in.confirmed_plan(), wall_of_ms(in.as_of_ms()), in.sequence(), {}};
  for (const auto& item : in.types()) {
    if (!plain_name(item.file())) return Error(Code::kDataLoss, "HWS-SN-002", "it names a file outside of its folder");
    out.types.push_back({item.type_url(), item.file(), item.checksum(), item.bytes(), item.resources(),
                         item.system_version(), wall_of_ms(item.accepted_ms()), item.wildcard()});
  }
  return out;
}

}  // namespace hawser::xds::snapshot
