// SPDX-License-Identifier: Apache-2.0
#include "config/schema_parts.h"
#include "config/schema_value.h"

namespace hawser::config {
namespace {

constexpr std::chrono::minutes kMaxWithdrawWait{5};

// A rule replaces what an earlier file said as a whole.
void read_address_rule(MapReader& map, AddressRule& rule) {
  rule = AddressRule{};
  rule.given = true;
  map.text("interface", rule.interface);
  map.list("cidr", [&rule](const std::string& text) -> Status {
    if (auto ok = check_cidr(text); !ok) return ok;
    rule.cidrs.push_back(text);
    return {};
  });
  map.scalar("family", choice({"any", "v4", "v6", "dual"},
                              [&rule](std::size_t i) { rule.family = static_cast<AddressFamily>(i); }));
}

}  // namespace

void read_workload(MapReader& map, Workload& workload) {
  map.text("name", workload.name);
  map.text("group", workload.group);
  map.text("service_account", workload.service_account);
  map.text("locality", workload.locality);
  map.string_map("labels", workload.labels);
  map.string_map("metadata", workload.metadata);
  if (map.has("address")) workload.addresses.clear();
  map.list("address", [&workload](const std::string& text) -> Status {
    if (auto ok = check_address(text); !ok) return ok;
    workload.addresses.push_back(text);
    return {};
  });
  map.map("address_rule", [&workload](MapReader& rule) { read_address_rule(rule, workload.address_rule); });
  map.scalar("withdraw_wait", millis(workload.withdraw_wait));
  if (workload.withdraw_wait > kMaxWithdrawWait)
    map.fail("withdraw_wait", Error(Code::kInvalidArgument, "HWS-CF-004", "is over 5m"));
  if (map.has("ports")) workload.ports.clear();
  map.each_map("ports", [&workload](MapReader& port) {
    ServicePort item;
    port.text("name", item.name);
    port.scalar("port", set<std::uint16_t>(item.port, parse_port));
    port.text("protocol", item.protocol);
    if (item.port == 0 && !port.has("port"))
      port.fail("port", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
    workload.ports.push_back(item);
  });
}

}  // namespace hawser::config
