// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/xtables_entry.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_CONNMARK.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_MARK.h>
#include <linux/netfilter/xt_TPROXY.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_cgroup.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_owner.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv4/ipt_REJECT.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netfilter_ipv6/ip6t_REJECT.h>
#include <climits>

#include <algorithm>
#include <cstring>

namespace hawser::netfilter {
namespace {

constexpr std::uint32_t kAllBits = 0xffffffff;

std::size_t aligned(std::size_t size) {
  return XT_ALIGN(size);
}

void copy_name(char* to, std::size_t room, const std::string& name) {
  std::memcpy(to, name.data(), std::min(name.size(), room - 1));
}

std::uint16_t port16(std::uint32_t port) {
  return static_cast<std::uint16_t>(port);
}

class Composer {
 public:
  Composer(const XtEntry& entry, const EntryOptions& options)
      : entry_(entry), match_(entry.match), options_(options), out_(v6() ? sizeof(ip6t_entry) : sizeof(ipt_entry)) {}

  EntryBytes compose() {
    add_matches();
    const std::size_t target_offset = out_.size();
    add_target();
    // Last: appending may move the buffer.
    if (v6()) {
      fill_ip6(*reinterpret_cast<ip6t_entry*>(out_.data()), target_offset);
    } else {
      fill_ip4(*reinterpret_cast<ipt_entry*>(out_.data()), target_offset);
    }
    return std::move(out_);
  }

 private:
  bool v6() const { return options_.family == Family::kIpv6; }

  void fill_ip4(ipt_entry& head, std::size_t target_offset) {
    head.target_offset = static_cast<__u16>(target_offset);
    head.next_offset = static_cast<__u16>(out_.size());
    for (const Cidr& net : match_.sources) fill_address(net, &head.ip.src, &head.ip.smsk, sizeof head.ip.src);
    for (const Cidr& net : match_.destinations) fill_address(net, &head.ip.dst, &head.ip.dmsk, sizeof head.ip.dst);
    for (const Cidr& net : match_.not_destinations) fill_address(net, &head.ip.dst, &head.ip.dmsk, sizeof head.ip.dst);
    fill_common(head.ip);
    if (!match_.not_destinations.empty()) head.ip.invflags |= IPT_INV_DSTIP;
    if (match_.protocol == Protocol::kNotTcp) head.ip.invflags |= IPT_INV_PROTO;
    if (entry_.target.kind == XtTarget::Kind::kGoto) head.ip.flags |= IPT_F_GOTO;
  }

  void fill_ip6(ip6t_entry& head, std::size_t target_offset) {
    head.target_offset = static_cast<__u16>(target_offset);
    head.next_offset = static_cast<__u16>(out_.size());
    for (const Cidr& net : match_.sources) fill_address(net, &head.ipv6.src, &head.ipv6.smsk, sizeof head.ipv6.src);
    for (const Cidr& net : match_.destinations)
      fill_address(net, &head.ipv6.dst, &head.ipv6.dmsk, sizeof head.ipv6.dst);
    for (const Cidr& net : match_.not_destinations)
      fill_address(net, &head.ipv6.dst, &head.ipv6.dmsk, sizeof head.ipv6.dst);
    fill_common(head.ipv6);
    if (!match_.not_destinations.empty()) head.ipv6.invflags |= IP6T_INV_DSTIP;
    if (match_.protocol == Protocol::kNotTcp) head.ipv6.invflags |= IP6T_INV_PROTO;
    if (head.ipv6.proto != 0) head.ipv6.flags |= IP6T_F_PROTO;
    if (entry_.target.kind == XtTarget::Kind::kGoto) head.ipv6.flags |= IP6T_F_GOTO;
  }

  // An address of all zeros with no mask bits matches everything, also inverted; no plan asks for that.
  static void fill_address(const Cidr& net, void* address, void* mask, std::size_t size) {
    std::memcpy(address, net.bytes.data(), size);
    auto* bytes = static_cast<unsigned char*>(mask);
    for (unsigned i = 0; i < size; ++i) {
      const unsigned ones = net.prefix <= i * 8 ? 0 : std::min(8U, net.prefix - i * 8);
      bytes[i] = static_cast<unsigned char>(0xff00U >> ones);
    }
  }

  template <typename Head>
  void fill_common(Head& head) {
    if (match_.protocol != Protocol::kAny) head.proto = match_.protocol == Protocol::kUdp ? IPPROTO_UDP : IPPROTO_TCP;
    for (const std::string& name : match_.interfaces) {
      const bool wild = !name.empty() && name.back() == '*';
      const std::size_t length = std::min<std::size_t>(name.size() - (wild ? 1 : 0), IFNAMSIZ - 1);
      char* text = options_.outgoing ? head.outiface : head.iniface;
      unsigned char* mask = options_.outgoing ? head.outiface_mask : head.iniface_mask;
      std::memcpy(text, name.data(), length);
      std::memset(mask, 0xff, length + (wild ? 0 : 1));
    }
  }

  void add(const char* name, int revision, const void* data, std::size_t size) {
    EntryBytes part(sizeof(xt_entry_match) + aligned(size));
    auto* head = reinterpret_cast<xt_entry_match*>(part.data());
    head->u.user.match_size = static_cast<__u16>(part.size());
    copy_name(head->u.user.name, sizeof head->u.user.name, name);
    head->u.user.revision = static_cast<__u8>(revision);
    std::memcpy(part.data() + sizeof(xt_entry_match), data, size);
    out_.append(part.data(), part.size());
  }
  template <typename Info>
  void add(const char* name, int revision, const Info& info) {
    add(name, revision, &info, sizeof info);
  }

  void add_matches() {
    add_transport();
    add_multiport(match_.source_ports, XT_MULTIPORT_SOURCE);
    add_multiport(match_.destination_ports, XT_MULTIPORT_DESTINATION);
    for (const PortRange& range : match_.not_destination_ports) multiport({range}, XT_MULTIPORT_DESTINATION, true);
    if (match_.tracked == Tracked::kInvalid) add_conntrack(XT_CONNTRACK_STATE_INVALID);
    if (match_.tracked == Tracked::kEstablished)
      add_conntrack(XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED) | XT_CONNTRACK_STATE_BIT(IP_CT_RELATED));
    if (entry_.translated) add_conntrack(XT_CONNTRACK_STATE_DNAT);
    if (match_.local) add_addrtype(false);
    if (match_.not_local) add_addrtype(true);
    add_owners();
    for (const std::string& path : match_.cgroups) add_cgroup(path);
    for (const Mark& mark : match_.marks) add_mark("mark", mark, false);
    for (const Mark& mark : match_.not_marks) add_mark("mark", mark, true);
    for (const Mark& mark : match_.connection_marks) add_mark("connmark", mark, false);
    if (!entry_.comment.empty()) add_comment();
  }

  void add_transport() {
    const bool source = match_.source_ports.size() == 1;
    const bool destination = match_.destination_ports.size() == 1;
    if (!source && !destination && !match_.midstream) return;
    xt_tcp tcp{};
    tcp.spts[1] = tcp.dpts[1] = 0xffff;
    if (source) fill_ports(tcp.spts, match_.source_ports.front());
    if (destination) fill_ports(tcp.dpts, match_.destination_ports.front());
    if (match_.protocol == Protocol::kUdp) {
      xt_udp udp{};
      std::memcpy(udp.spts, tcp.spts, sizeof udp.spts);
      std::memcpy(udp.dpts, tcp.dpts, sizeof udp.dpts);
      return add("udp", 0, udp);
    }
    if (match_.midstream) {
      tcp.flg_mask = 0x01 | 0x02 | 0x04 | 0x10;  // FIN, SYN, RST, ACK
      tcp.flg_cmp = 0x02;
      tcp.invflags = XT_TCP_INV_FLAGS;
    }
    add("tcp", 0, tcp);
  }

  static void fill_ports(__u16 (&out)[2], const PortRange& range) {
    out[0] = port16(range.first);
    out[1] = port16(range.last);
  }

  void add_multiport(const std::vector<PortRange>& ranges, unsigned flags) {
    if (ranges.size() > 1) multiport(ranges, flags, false);
  }

  void multiport(const std::vector<PortRange>& ranges, unsigned flags, bool inverted) {
    xt_multiport_v1 info{};
    info.flags = static_cast<__u8>(flags);
    info.invert = inverted ? 1 : 0;
    for (const PortRange& range : ranges) {
      const bool one = range.first == range.last;
      if (info.count + (one ? 1 : 2) > XT_MULTI_PORTS) break;
      if (!one) info.pflags[info.count] = 1;
      info.ports[info.count++] = port16(range.first);
      if (!one) info.ports[info.count++] = port16(range.last);
    }
    add("multiport", 1, info);
  }

  void add_conntrack(unsigned states) {
    xt_conntrack_mtinfo3 info{};
    info.match_flags = XT_CONNTRACK_STATE;
    info.state_mask = static_cast<__u16>(states);
    add("conntrack", 3, info);
  }

  void add_addrtype(bool inverted) {
    xt_addrtype_info_v1 info{};
    info.dest = XT_ADDRTYPE_LOCAL;
    info.flags = inverted ? XT_ADDRTYPE_INVERT_DEST : 0;
    add("addrtype", 1, info);
  }

  void add_owners() {
    xt_owner_match_info info{};
    for (const IdRange& uids : match_.uids) {
      info.match |= XT_OWNER_UID;
      info.uid_min = uids.first;
      info.uid_max = uids.last;
    }
    for (const auto gid : match_.gids) {
      info.match |= XT_OWNER_GID;
      info.gid_min = info.gid_max = gid;
    }
    if (info.match != 0) add("owner", 1, info);
    for (const auto gid : match_.not_gids) {
      xt_owner_match_info other{};
      other.match = other.invert = XT_OWNER_GID;
      other.gid_min = other.gid_max = gid;
      add("owner", 1, other);
    }
  }

  void add_cgroup(const std::string& path) {
    if (options_.revisions.cgroup >= 2) {
      xt_cgroup_info_v2 info{};
      info.has_path = 1;
      copy_name(info.path, sizeof info.path, path);
      return add("cgroup", 2, info);
    }
    xt_cgroup_info_v1 info{};
    info.has_path = 1;
    copy_name(info.path, sizeof info.path, path);
    add("cgroup", 1, info);
  }

  void add_mark(const char* name, const Mark& mark, bool inverted) {
    // xt_connmark_mtinfo1 is the same.
    struct {
      __u32 mark, mask;
      __u8 invert;
    } info{};
    info.mark = mark.value;
    info.mask = mark.mask;
    info.invert = inverted ? 1 : 0;
    add(name, 1, info);
  }

  void add_comment() {
    xt_comment_info info{};
    copy_name(info.comment, sizeof info.comment, entry_.comment);
    add("comment", 0, info);
  }

  void target(const char* name, int revision, const void* data, std::size_t size) {
    EntryBytes part(sizeof(xt_entry_target) + aligned(size));
    auto* head = reinterpret_cast<xt_entry_target*>(part.data());
    head->u.user.target_size = static_cast<__u16>(part.size());
    copy_name(head->u.user.name, sizeof head->u.user.name, name);
    head->u.user.revision = static_cast<__u8>(revision);
    std::memcpy(part.data() + sizeof(xt_entry_target), data, size);
    out_.append(part.data(), part.size());
  }

  void standard(const std::string& name) {
    const int verdict = 0;
    target(name.c_str(), 0, &verdict, sizeof verdict);
  }

  void add_target() {
    using Kind = XtTarget::Kind;
    const XtTarget& to = entry_.target;
    switch (to.kind) {
      case Kind::kReturn:
        return standard("RETURN");
      case Kind::kDrop:
        return standard("DROP");
      case Kind::kGoto:
      case Kind::kJump:
        return standard(to.chain);
      case Kind::kRedirect:
        return redirect(to.port);
      case Kind::kTproxy: {
        xt_tproxy_target_info_v1 info{};
        info.mark_value = to.mark;
        info.mark_mask = kAllBits;
        info.lport = htons(to.port);
        return target("TPROXY", 1, &info, sizeof info);
      }
      case Kind::kReject: {
        const __u32 with = v6() ? static_cast<__u32>(IP6T_TCP_RESET) : static_cast<__u32>(IPT_TCP_RESET);
        return target("REJECT", 0, &with, sizeof with);
      }
      case Kind::kMark: {
        const xt_mark_tginfo2 info{to.mark, kAllBits};
        return target("MARK", 2, &info, sizeof info);
      }
      case Kind::kSaveMark:
      case Kind::kRestoreMark: {
        return connmark(to.kind == Kind::kSaveMark ? XT_CONNMARK_SAVE : XT_CONNMARK_RESTORE);
      }
      case Kind::kZone: {
        xt_ct_target_info_v1 info{};
        info.zone = to.zone;
        return target("CT", options_.revisions.ct, &info, sizeof info);
      }
    }
  }

  void connmark(unsigned mode) {
    if (options_.revisions.connmark >= 2) {
      xt_connmark_tginfo2 info{};
      info.ctmask = info.nfmask = kAllBits;
      info.mode = static_cast<__u8>(mode);
      return target("CONNMARK", 2, &info, sizeof info);
    }
    xt_connmark_tginfo1 info{};
    info.ctmask = info.nfmask = kAllBits;
    info.mode = static_cast<__u8>(mode);
    target("CONNMARK", 1, &info, sizeof info);
  }

  void redirect(std::uint16_t port) {
    if (v6()) {
      nf_nat_range info{};
      info.flags = NF_NAT_RANGE_PROTO_SPECIFIED;
      info.min_proto.all = info.max_proto.all = htons(port);
      return target("REDIRECT", 0, &info, sizeof info);
    }
    nf_nat_ipv4_multi_range_compat info{};
    info.rangesize = 1;
    info.range[0].flags = NF_NAT_RANGE_PROTO_SPECIFIED;
    info.range[0].min.all = info.range[0].max.all = htons(port);
    target("REDIRECT", 0, &info, sizeof info);
  }

  const XtEntry& entry_;
  const Match& match_;
  const EntryOptions& options_;
  EntryBytes out_;
};

struct Parts {
  std::size_t head;
  std::size_t target;
  std::size_t size;
};

Parts parts_of(const unsigned char* entry, Family family) {
  if (family == Family::kIpv6) {
    const auto* head = reinterpret_cast<const ip6t_entry*>(entry);
    return {sizeof(ip6t_entry), head->target_offset, head->next_offset};
  }
  const auto* head = reinterpret_cast<const ipt_entry*>(entry);
  return {sizeof(ipt_entry), head->target_offset, head->next_offset};
}

// The kernel's own field at the end of these; newer kernels don't show it.
void forget_pointer(unsigned char* part, std::size_t size, const char* name) {
  const bool holds = std::strcmp(name, "cgroup") == 0 || std::strcmp(name, "CT") == 0;
  if (holds && size >= sizeof(std::uint64_t))
    std::memset(part + size - sizeof(std::uint64_t), 0, sizeof(std::uint64_t));
}

// The kernel copies names up to their NUL only; behind it is what was in libiptc's buffer.
template <std::size_t N>
void forget_tail(char (&name)[N]) {
  const std::size_t length = ::strnlen(name, N);
  std::memset(name + length, 0, N - length);
}

}  // namespace

void EntryBytes::append(const void* bytes, std::size_t size) {
  const std::size_t at = size_;
  size_ += size;
  words_.resize((size_ + 7) / 8);
  std::memcpy(data() + at, bytes, size);
}

EntryBytes compose(const XtEntry& entry, const EntryOptions& options) {
  return Composer(entry, options).compose();
}

EntryBytes canonical(const unsigned char* entry, Family family, const std::string& target) {
  const Parts parts = parts_of(entry, family);
  EntryBytes out;
  out.append(entry, parts.size);
  if (family == Family::kIpv6) {
    auto* head = reinterpret_cast<ip6t_entry*>(out.data());
    head->nfcache = head->comefrom = 0;
    head->counters = {};
  } else {
    auto* head = reinterpret_cast<ipt_entry*>(out.data());
    head->nfcache = head->comefrom = 0;
    head->counters = {};
  }
  for (std::size_t at = parts.head; at + sizeof(xt_entry_match) <= parts.target;) {
    auto* match = reinterpret_cast<xt_entry_match*>(out.data() + at);
    const std::size_t size = match->u.user.match_size;
    if (size < sizeof(xt_entry_match)) break;
    forget_tail(match->u.user.name);
    forget_pointer(out.data() + at, size, match->u.user.name);
    at += size;
  }
  auto* to = reinterpret_cast<xt_entry_target*>(out.data() + parts.target);
  if (target.empty()) {
    forget_tail(to->u.user.name);
    forget_pointer(out.data() + parts.target, to->u.user.target_size, to->u.user.name);
    return out;
  }
  std::memset(to->u.user.name, 0, sizeof to->u.user.name);
  copy_name(to->u.user.name, sizeof to->u.user.name, target);
  std::memset(out.data() + parts.target + sizeof(xt_entry_target), 0,
              parts.size - parts.target - sizeof(xt_entry_target));
  return out;
}

std::string comment_of(const unsigned char* entry, Family family) {
  const Parts parts = parts_of(entry, family);
  for (std::size_t at = parts.head; at + sizeof(xt_entry_match) <= parts.target;) {
    const auto* match = reinterpret_cast<const xt_entry_match*>(entry + at);
    const std::size_t size = match->u.user.match_size;
    if (size < sizeof(xt_entry_match)) break;
    if (std::strcmp(match->u.user.name, "comment") == 0) {
      const char* text = reinterpret_cast<const char*>(match->data);
      return {text, ::strnlen(text, size - sizeof(xt_entry_match))};
    }
    at += size;
  }
  return {};
}

}  // namespace hawser::netfilter
