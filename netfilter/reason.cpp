// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/explain.h"

namespace hawser::netfilter {

const char* reason(Purpose purpose) {
  switch (purpose) {
    case Purpose::kProbe:
      return "The broker proves with a connection to this address that the rules really lead to the proxy.";
    case Purpose::kOwnProbe:
      return "hawserd asks this host's own program as a caller would, through the proxy's inbound listener.";
    case Purpose::kNotTcp:
      return "Only TCP is intercepted; DHCP, NTP, ICMP and the like work as if there were no mesh.";
    case Purpose::kMidstream:
      return "A connection that is older than the rules goes on as it began: a redirect would break it.";
    case Purpose::kSsh:
      return "SSH is never captured, so that whatever goes wrong, you get in and can repair it.";
    case Purpose::kDhcp:
      return "DHCP is never captured: the host would lose its address.";
    case Purpose::kMetadata:
      return "The cloud's metadata server and other link-local neighbours are the host's own business.";
    case Purpose::kControlPlane:
      return "The control plane and the CA are asked directly, else nothing could repair a proxy that is broken.";
    case Purpose::kOwnPort:
      return "The proxy's own listeners and hawserd's status port answer for themselves.";
    case Purpose::kPassthrough:
      return "The proxy hands a call to the program behind it from this address; captured, it would come back for "
             "ever.";
    case Purpose::kSelfCall:
      return "The proxy calls a service and got this very host: as for any caller, that goes by the inbound listener, "
             "with mTLS and its policies.";
    case Purpose::kExemptUser:
      return "What the proxy and the agent send themselves is never captured, else it would go in circles; nor is what "
             "other users send that are exempt.";
    case Purpose::kExemptGroup:
      return "Programs of these groups, the proxy's among them, are left alone.";
    case Purpose::kExemptCgroup:
      return "Programs in these units or slices are left alone.";
    case Purpose::kExemptMark:
      return "Programs that mark their packets so (SO_MARK) are left alone.";
    case Purpose::kHbone:
      return "Callers dial the listener of HBONE themselves; captured, their tunnel would be wrapped twice.";
    case Purpose::kInterface:
      return "The configuration excludes this interface.";
    case Purpose::kGroup:
      return "The configuration says of which groups of owners traffic is captured.";
    case Purpose::kUserPort:
      return "The configuration excludes these ports for these users.";
    case Purpose::kDns:
      return "Names of the mesh are answered by the agent, so what asks the host's resolvers goes there.";
    case Purpose::kDnsZone:
      return "A question to the agent and the agent's own question upstream may have the same addresses and ports: "
             "tracked apart, they can't be mistaken for each other.";
    case Purpose::kResolver:
      return "The host's own resolver asks its upstream directly; else it would ask itself.";
    case Purpose::kLoopback:
      return "What programs of this host say to each other stays on this host.";
    case Purpose::kTransit:
      return "What this host only forwards, as a router or for its containers, isn't its workload's.";
    case Purpose::kExcludedPort:
      return "The configuration excludes this port.";
    case Purpose::kExcludedCidr:
      return "The configuration excludes this network.";
    case Purpose::kNotIncluded:
      return "The configuration names what is captured, and this isn't in it.";
    case Purpose::kInvalid:
      return "A packet that fits to no connection isn't translated back, and a reset from the program would end the "
             "proxy's connection.";
    case Purpose::kReturnPath:
      return "Answers of the program have to find back to the proxy, whose caller's address they bear.";
    case Purpose::kEstablished:
      return "Packets of a connection that the proxy has taken go to its socket.";
    case Purpose::kRedirect:
      return "What no rule before lets go is the mesh's: the proxy finds who is meant, and speaks mTLS.";
  }
  return "";
}

}  // namespace hawser::netfilter
