// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/nft_listing.h"

#include <gtest/gtest.h>

namespace hawser::netfilter {
namespace {

constexpr const char* kListing = R"(table inet hawser { # progname hawser-broker
	flags owner
	comment "sha256:abc123"
	counter out_ssh {
		packets 12 bytes 720
	}

	counter in_redirect {
		packets 3 bytes 180
	}

	set out_excluded_cidr4 {
		type ipv4_addr
		flags interval
		elements = { 10.0.0.0/8 }
	}

	chain output {
		type nat hook output priority -101; policy accept;
		tcp dport 22 counter name "out_ssh" return comment "out:ssh"
		tcp sport 22 counter name "out_ssh" return comment "out:ssh"
	}

	chain prerouting {
		type nat hook prerouting priority -101; policy accept;
		meta l4proto tcp counter name "in_redirect" redirect to :15006 comment "in:redirect"
	}
}
)";

TEST(NftListing, DigestRulesAndCountersAreFound) {
  const Listing listing = parse_listing(kListing);
  EXPECT_EQ(listing.digest, "abc123");
  EXPECT_EQ(listing.rules.at("output"), 2U);
  EXPECT_EQ(listing.rules.at("prerouting"), 1U);
  ASSERT_EQ(listing.counters.size(), 2U);
  EXPECT_EQ(listing.counters.at("out_ssh").packets, 12U);
  EXPECT_EQ(listing.counters.at("out_ssh").bytes, 720U);
  EXPECT_EQ(listing.counters.at("in_redirect").packets, 3U);
}

TEST(NftListing, NothingIsNothing) {
  const Listing listing = parse_listing("");
  EXPECT_TRUE(listing.digest.empty());
  EXPECT_TRUE(listing.rules.empty());
  EXPECT_TRUE(listing.counters.empty());
}

TEST(NftListing, ACutOffListingIsReadAsFarAsItGoes) {
  const std::string whole = kListing;
  for (std::size_t length = 0; length < whole.size(); ++length) (void)parse_listing(whole.substr(0, length));
}

}  // namespace
}  // namespace hawser::netfilter
