// SPDX-License-Identifier: Apache-2.0
#include "xds/snapshot/addresses.h"

#include <algorithm>

#include "base/file.h"
#include "hawser/snapshot.pb.h"
#include "xds/snapshot/frames.h"
#include "xds/snapshot/times.h"

namespace hawser::xds::snapshot {
namespace {

namespace v1 = hawser::snapshot::v1;

constexpr std::string_view kAddressesMagic = "HWSADR\n2";
constexpr std::size_t kMaxFile = std::size_t{1} << 20;

std::string path_in(const std::string& folder) {
  return folder + "/addresses.pb";
}

void drop_oldest(AddressBook& book) {
  book.erase(std::min_element(book.begin(), book.end(),
                              [](const auto& a, const auto& b) { return a.second.seen < b.second.seen; }));
}

}  // namespace

std::string build_addresses(const AddressBook& book) {
  v1::Addresses out;
  for (const auto& [host, known] : book) {
    auto* name = out.add_names();
    name->set_host(host);
    name->set_seen_ms(unix_ms(known.seen));
    for (const auto& address : known.addresses) name->add_addresses(address);
  }
  FrameWriter writer(kAddressesMagic);
  writer.add(out.SerializeAsString());
  return std::move(writer).finish();
}

Result<AddressBook> parse_addresses(std::string_view bytes) {
  FrameReader reader(kAddressesMagic, bytes);
  if (auto opened = reader.open(); !opened) return opened.error();
  const auto payload = reader.next();
  if (!payload) return payload.error();
  v1::Addresses in;
  if (!reader.at_end() || !in.ParseFromArray(payload->data(), static_cast<int>(payload->size())))
    return Error(Code::kDataLoss, "HWS-SN-002", "it isn't a list of addresses");
  AddressBook out;
  for (const auto& name : in.names())
    out[name.host()] = {{name.addresses().begin(), name.addresses().end()}, wall_of_ms(name.seen_ms())};
  return out;
}

Result<AddressBook> load_addresses(const std::string& folder) {
  if (!file::exists(path_in(folder))) return AddressBook();
  auto bytes = file::read_bounded(path_in(folder), kMaxFile);
  if (!bytes) return bytes.error();
  return parse_addresses(*bytes);
}

Status remember_addresses(const std::string& folder, const std::string& host, const KnownAddresses& known) {
  auto loaded = load_addresses(folder);
  AddressBook book = loaded ? std::move(*loaded) : AddressBook();
  KnownAddresses kept = known;
  if (kept.addresses.size() > kMostAddresses) kept.addresses.resize(kMostAddresses);
  const auto found = book.find(host);
  if (found != book.end() && found->second.addresses == kept.addresses) return {};
  book[host] = std::move(kept);
  if (book.size() > kMostNames) drop_oldest(book);
  return file::write_atomic(path_in(folder), build_addresses(book), 0600);
}

}  // namespace hawser::xds::snapshot
