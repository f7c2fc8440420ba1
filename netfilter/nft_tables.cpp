// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/nft_tables.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string_view>

namespace hawser::netfilter {
namespace {

// A transaction in the middle of the answer makes the kernel say so.
constexpr int kAttempts = 16;
// Of rules and of objects, it's the same number.
constexpr std::uint16_t kTableAttribute = NFTA_RULE_TABLE;
static_assert(static_cast<int>(NFTA_RULE_TABLE) == static_cast<int>(NFTA_OBJ_TABLE));
// libnftnl's NFTNL_UDATA_TABLE_COMMENT and NFTNL_UDATA_RULE_COMMENT: a byte of type, one of length, and the text with
// its zero.
constexpr unsigned char kCommentType = 0;

std::string_view bytes_of(const nlattr* attribute) {
  return {static_cast<const char*>(::mnl_attr_get_payload(attribute)), ::mnl_attr_get_payload_len(attribute)};
}

std::string text_of(std::string_view bytes) {
  return std::string(bytes.substr(0, bytes.find('\0')));
}

std::string comment_in(std::string_view data) {
  while (data.size() >= 2) {
    const auto type = static_cast<unsigned char>(data[0]);
    const std::size_t length = static_cast<unsigned char>(data[1]);
    if (length > data.size() - 2) return {};
    if (type == kCommentType) return text_of(data.substr(2, length));
    data.remove_prefix(2 + length);
  }
  return {};
}

constexpr std::pair<const char*, std::uint8_t> kFamilyNumbers[] = {
    {"inet", NFPROTO_INET}, {"ip", NFPROTO_IPV4}, {"ip6", NFPROTO_IPV6}};

std::string family_of(const nlmsghdr* header) {
  const auto number = static_cast<const nfgenmsg*>(::mnl_nlmsg_get_payload(header))->nfgen_family;
  for (const auto& [name, known] : kFamilyNumbers)
    if (known == number) return name;
  return {};
}

std::uint8_t number_of(const std::string& family) {
  for (const auto& [name, number] : kFamilyNumbers)
    if (family == name) return number;
  return NFPROTO_UNSPEC;
}

bool is_of(const nlmsghdr* header, const std::string& table) {
  bool out = false;
  each_attribute(header, sizeof(nfgenmsg), [&](const nlattr* attribute) {
    out = out || (::mnl_attr_get_type(attribute) == kTableAttribute && text_of(bytes_of(attribute)) == table);
  });
  return out;
}

// 0, or an errno. `table`: of this one alone, if it's said, which older kernels don't filter by; `begin` is called
// before each attempt.
int dump(NetlinkSocket& socket, int what, std::uint8_t family, const std::string& table,
         const std::function<void()>& begin, const std::function<void(const nlmsghdr*)>& each) {
  int error = EINTR;
  for (int attempt = 0; attempt < kAttempts && error == EINTR; ++attempt) {
    begin();
    NetlinkRequest request(static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | what), NLM_F_DUMP);
    request.body<nfgenmsg>()->nfgen_family = family;
    if (!table.empty()) ::mnl_attr_put_strz(request.header(), kTableAttribute, table.c_str());
    error = socket.ask(request, [&](const nlmsghdr* header) {
      if (::mnl_nlmsg_get_payload_len(header) < sizeof(nfgenmsg)) return;
      if (table.empty() || is_of(header, table)) each(header);
    });
  }
  return error;
}

std::uint64_t number_in(const nlattr* attribute) {
  return ::mnl_attr_validate(attribute, MNL_TYPE_U64) < 0 ? 0 : be64toh(::mnl_attr_get_u64(attribute));
}

// What NFTA_OBJ_DATA has of a counter.
int on_counted(const nlattr* attribute, void* data) {
  auto& traffic = *static_cast<Traffic*>(data);
  if (::mnl_attr_get_type(attribute) == NFTA_COUNTER_PACKETS) traffic.packets += number_in(attribute);
  if (::mnl_attr_get_type(attribute) == NFTA_COUNTER_BYTES) traffic.bytes += number_in(attribute);
  return MNL_CB_OK;
}

bool is_tag(std::string_view comment) {
  return comment.starts_with("out:") || comment.starts_with("in:");
}

Error explain(int error) {
  if (error == EPERM || error == EACCES)
    return errno_error(error, "HWS-NF-010", "the kernel refused to tell about nftables",
                       "run the broker with CAP_NET_ADMIN");
  if (error == EINVAL || error == EPROTONOSUPPORT || error == EOPNOTSUPP)
    return errno_error(error, "HWS-NF-011", "the kernel has no nftables",
                       "Linux 5.12 or newer with nf_tables, nft_chain_nat, nft_redir and nft_fib_inet is needed");
  return errno_error(error, "HWS-NF-012", "nftables can't be asked for its tables", "report this");
}

}  // namespace

Result<NftTables> NftTables::observe(NetlinkSocket& socket) {
  NftTables out;
  const int error = dump(
      socket, NFT_MSG_GETTABLE, NFPROTO_UNSPEC, {}, [&out] { out.comments_.clear(); },
      [&out](const nlmsghdr* header) {
        std::string name;
        std::string comment;
        each_attribute(header, sizeof(nfgenmsg), [&](const nlattr* attribute) {
          if (::mnl_attr_get_type(attribute) == NFTA_TABLE_NAME) name = text_of(bytes_of(attribute));
          if (::mnl_attr_get_type(attribute) == NFTA_TABLE_USERDATA) comment = comment_in(bytes_of(attribute));
        });
        out.comments_[{family_of(header), std::move(name)}] = std::move(comment);
      });
  if (error != 0) return explain(error);
  return out;
}

bool NftTables::has(const std::vector<std::string>& families, const std::string& table) const {
  return std::any_of(families.begin(), families.end(), [&](const std::string& family) {
    return comments_.contains({family, table});
  });
}

bool NftTables::have_comment(const std::vector<std::string>& families, const std::string& table,
                             const std::string& comment) const {
  return std::all_of(families.begin(), families.end(), [&](const std::string& family) {
    const auto found = comments_.find({family, table});
    return found != comments_.end() && found->second == comment;
  });
}

Result<std::map<std::string, std::size_t>> tagged_rules(NetlinkSocket& socket, const std::vector<std::string>& families,
                                                        const std::string& table) {
  std::map<std::string, std::size_t> out;
  for (const std::string& family : families) {
    std::map<std::string, std::size_t> found;
    const int error = dump(
        socket, NFT_MSG_GETRULE, number_of(family), table, [&found] { found.clear(); },
        [&](const nlmsghdr* header) {
          std::string chain;
          bool tagged = false;
          each_attribute(header, sizeof(nfgenmsg), [&](const nlattr* attribute) {
            const auto type = ::mnl_attr_get_type(attribute);
            if (type == NFTA_RULE_CHAIN) chain = text_of(bytes_of(attribute));
            if (type == NFTA_RULE_USERDATA) tagged = is_tag(comment_in(bytes_of(attribute)));
          });
          if (tagged) ++found[chain];
        });
    if (error != 0) return explain(error);
    for (const auto& [chain, count] : found) out[chain] += count;
  }
  return out;
}

Result<Counters> named_counters(NetlinkSocket& socket, const std::vector<std::string>& families,
                                const std::string& table) {
  Counters out;
  for (const std::string& family : families) {
    Counters found;
    const int error = dump(
        socket, NFT_MSG_GETOBJ, number_of(family), table, [&found] { found.clear(); },
        [&](const nlmsghdr* header) {
          std::string name;
          bool counter = false;
          Traffic traffic;
          each_attribute(header, sizeof(nfgenmsg), [&](const nlattr* attribute) {
            const auto type = ::mnl_attr_get_type(attribute);
            if (type == NFTA_OBJ_NAME) name = text_of(bytes_of(attribute));
            if (type == NFTA_OBJ_TYPE && ::mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
              counter = ntohl(::mnl_attr_get_u32(attribute)) == NFT_OBJECT_COUNTER;
            if (type == NFTA_OBJ_DATA) (void)::mnl_attr_parse_nested(attribute, on_counted, &traffic);
          });
          if (counter) found[name] = traffic;
        });
    if (error != 0) return explain(error);
    for (const auto& [name, traffic] : found) {
      out[name].packets += traffic.packets;
      out[name].bytes += traffic.bytes;
    }
  }
  return out;
}

}  // namespace hawser::netfilter
