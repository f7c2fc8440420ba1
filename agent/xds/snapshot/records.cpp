// SPDX-License-Identifier: Apache-2.0
#include "xds/snapshot/records.h"

#include <unordered_set>

#include "hawser/snapshot.pb.h"
#include "xds/snapshot/frames.h"
#include "xds/snapshot/times.h"

namespace hawser::xds::snapshot::records {
namespace {

namespace v1 = hawser::snapshot::v1;

constexpr std::string_view kMagic = "HWSXDS\n2";
constexpr std::size_t kPiece = std::size_t{64} << 10;

Error damaged(const std::string& why) {
  return {Code::kDataLoss, "HWS-SN-002", why};
}

std::string header_bytes(const Header& header, std::size_t resources) {
  v1::TypeHeader out;
  out.set_type_url(header.type_url);
  out.set_system_version(header.system_version);
  out.set_node_identity(header.node_identity);
  out.set_accepted_ms(unix_ms(header.accepted_at));
  out.set_wildcard(header.wildcard);
  out.set_resources(resources);
  return out.SerializeAsString();
}

Result<Resource> read_resource(FrameReader& reader) {
  auto payload = reader.next();
  if (!payload) return payload.error();
  v1::Resource in;
  if (!in.ParseFromArray(payload->data(), static_cast<int>(payload->size())))
    return damaged("a record isn't a resource");
  return Resource{std::move(*in.mutable_name()), std::move(*in.mutable_version()), std::move(*in.mutable_body())};
}

}  // namespace

Result<Written> write(const Header& header, const std::vector<Item>& items, const Sink& sink) {
  FrameWriter writer(kMagic);
  Written out;
  const auto flush = [&]() -> Status {
    out.bytes += writer.pending().size();
    auto taken = sink(writer.pending());
    writer.clear_pending();
    return taken;
  };
  writer.add(header_bytes(header, items.size()));
  v1::Resource record;
  std::string bytes;
  for (const auto& item : items) {
    record.set_name(item.name);
    record.set_version(item.version.data(), item.version.size());
    record.set_body(item.body.data(), item.body.size());
    record.SerializeToString(&bytes);
    writer.add(bytes);
    if (writer.pending().size() < kPiece) continue;
    if (auto taken = flush(); !taken) return taken.error();
  }
  if (auto taken = flush(); !taken) return taken.error();
  out.checksum = writer.checksum();
  return out;
}

Result<Type> parse(std::string_view bytes) {
  FrameReader reader(kMagic, bytes);
  if (auto opened = reader.open(); !opened) return opened.error();
  auto first = reader.next();
  if (!first) return first.error();
  v1::TypeHeader header;
  if (!header.ParseFromArray(first->data(), static_cast<int>(first->size())) || header.type_url().empty())
    return damaged("the first record isn't a header");
  Type out;
  out.header = {header.type_url(), header.system_version(), header.node_identity(), wall_of_ms(header.accepted_ms()),
                header.wildcard()};
  std::unordered_set<std::string> names;
  while (!reader.at_end()) {
    auto resource = read_resource(reader);
    if (!resource) return resource.error();
    if (!names.insert(resource->name).second) return damaged("a name is there twice");
    out.resources.push_back(std::move(*resource));
  }
  if (out.resources.size() != header.resources())
    return damaged("it has " + std::to_string(out.resources.size()) + " resources in place of " +
                   std::to_string(header.resources()));
  out.checksum = reader.checksum();
  return out;
}

}  // namespace hawser::xds::snapshot::records
