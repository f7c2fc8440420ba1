// SPDX-License-Identifier: Apache-2.0
#include "xds/sotw_wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <limits>

#include "envoy/config/core/v3/base.pb.h"

namespace hawser::xds {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr int kNodeField = 2;
constexpr int kTypeField = 4;
constexpr char kGroupKey[] = "AUTO_REGISTER_GROUP";

// Calls `visit(field number, the whole field with its tag, its content)`; false for bytes that aren't a message.
template <typename Visit>
bool each_field(std::string_view bytes, Visit visit) {
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return false;
  CodedInputStream in(reinterpret_cast<const std::uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  for (;;) {
    const auto begin = static_cast<std::size_t>(in.CurrentPosition());
    const std::uint32_t tag = in.ReadTag();
    if (tag == 0) return in.ConsumedEntireMessage();
    auto content = static_cast<std::size_t>(in.CurrentPosition());
    if (WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      std::uint32_t length = 0;
      if (!in.ReadVarint32(&length) || length > bytes.size()) return false;
      content = static_cast<std::size_t>(in.CurrentPosition());
      if (!in.Skip(static_cast<int>(length))) return false;
    } else if (!WireFormatLite::SkipField(&in, tag)) {
      return false;
    }
    const auto end = static_cast<std::size_t>(in.CurrentPosition());
    visit(WireFormatLite::GetTagFieldNumber(tag), bytes.substr(begin, end - begin),
          bytes.substr(content, end - content));
  }
}

void append_varint(std::string& out, std::size_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
  out.push_back(static_cast<char>(value));
}

}  // namespace

Result<SotwHead> scan_sotw_request(std::string_view request) {
  SotwHead out;
  const bool ok = each_field(request, [&](int field, std::string_view, std::string_view content) {
    if (field == kTypeField) out.type_url = content;
    if (field == kNodeField) out.node = content;
  });
  if (!ok || out.type_url.empty())
    return Error(Code::kInvalidArgument, "HWS-XDS-030", "the client's request isn't a discovery request with a type",
                 "the client must speak ADS v3; a type URL is required on an aggregated stream");
  return out;
}

std::string with_node(std::string_view request, const std::string& node) {
  std::string out;
  out.reserve(request.size() + node.size() + 8);
  out.push_back(static_cast<char>(kNodeField << 3 | WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
  append_varint(out, node.size());
  out.append(node);
  each_field(request, [&](int field, std::string_view whole, std::string_view) {
    if (field != kNodeField) out.append(whole);
  });
  return out;
}

std::string node_for_client(const std::string& host_node, const std::string& client_node) {
  envoy::config::core::v3::Node host;
  envoy::config::core::v3::Node out;
  if (!host.ParseFromString(host_node)) return host_node;
  if (!out.ParseFromString(client_node)) out.Clear();
  out.set_id(host.id());
  out.set_cluster(host.cluster());
  out.clear_locality();
  if (host.has_locality()) *out.mutable_locality() = host.locality();
  auto& fields = *out.mutable_metadata()->mutable_fields();
  for (const auto& [key, value] : host.metadata().fields()) fields[key] = value;
  fields.erase(kGroupKey);
  return out.SerializeAsString();
}

}  // namespace hawser::xds
