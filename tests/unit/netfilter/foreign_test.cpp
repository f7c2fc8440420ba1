// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// The real pilot-agent's rules are taken over in tests/interop/test_takeover.py; here are those of the others, by their
// names, and what is none of theirs.
#include "netfilter/foreign.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "in_namespace.h"
#include "netfilter/takeover.h"

namespace hawser::netfilter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// An operator's table, in the listing's form; each mesh puts its chains and jumps next to it.
constexpr const char* kOperators = R"(table ip nat { # handle 1
	chain PREROUTING { # handle 1
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 5555 counter packets 0 bytes 0 redirect to :80 # handle 7
		iifname "eth9" counter packets 0 bytes 0 return # handle 8
	}
}
)";

TEST(Foreign, AnOperatorsRulesAreNobodys) {
  EXPECT_THAT(find_foreign(kOperators), IsEmpty());
  EXPECT_EQ(emit_removal_of_foreign(kOperators), "");
  EXPECT_THAT(find_foreign("table inet hawser { # handle 3\n\tchain output { # handle 1\n\t}\n}\n"), IsEmpty());
  EXPECT_THAT(find_foreign("table ip istio { # handle 3\n}\nchain ISTIO_X {\n"), IsEmpty());
}

TEST(Foreign, NativeTablesOfIstioGoWhole) {
  const std::string listed = "table inet istio-proxy-nat { # handle 2\n\tchain output { # handle 1\n\t}\n}\n";
  EXPECT_THAT(find_foreign(listed), ElementsAre(Foreign{"Istio", "table inet istio-proxy-nat"}));
  EXPECT_EQ(emit_removal_of_foreign(listed), "delete table inet istio-proxy-nat\n");
}

struct Mesh {
  const char* name;
  const char* chain;
};

TEST(Foreign, EachMeshIsKnownByItsChains) {
  for (const Mesh& mesh : {Mesh{"Istio or Traffic Director", "ISTIO_OUTPUT"}, Mesh{"Kuma", "KUMA_MESH_OUTBOUND"},
                           Mesh{"Linkerd", "PROXY_INIT_OUTPUT"}, Mesh{"Consul", "CONSUL_PROXY_OUTPUT"},
                           Mesh{"Consul", "CONSUL_DNS_REDIRECT"}}) {
    const std::string chain = mesh.chain;
    const std::string listed = "table ip nat { # handle 1\n\tchain " + chain +
                               " { # handle 4\n\t\treturn # handle 5\n\t}\n\tchain OUTPUT { # handle 6\n"
                               "\t\ttcp dport 80 counter packets 0 bytes 0 accept # handle 7\n"
                               "\t\tcounter packets 0 bytes 0 jump " +
                               chain + " # handle 8\n\t}\n}\n";
    EXPECT_THAT(find_foreign(listed), ElementsAre(Foreign{mesh.name, "table ip nat"}));
    EXPECT_EQ(emit_removal_of_foreign(listed), "delete rule ip nat OUTPUT handle 8\nflush chain ip nat " + chain +
                                                   "\ndelete chain ip nat " + chain + "\n");
    EXPECT_THAT(to_string(find_foreign(listed)), HasSubstr(std::string(mesh.name) + " (table ip nat)"));
  }
}

TEST(Foreign, ACutOffListingIsReadAsFarAsItGoes) {
  const std::string whole =
      std::string(kOperators) + "table ip mangle { # handle 2\n\tchain ISTIO_DIVERT { # handle 1\n";
  for (std::size_t length = 0; length <= whole.size(); ++length) (void)emit_removal_of_foreign(whole.substr(0, length));
}

std::string everything() {
  return output_of("nft list ruleset; iptables-legacy-save | grep -v '^#'; ip6tables-legacy-save | grep -v '^#'");
}

// With iptables itself: rules as the others' tools make them, in both engines.
TEST(Takeover, RemovesTheirsAndNothingElse) {
  for (const std::string program : {"iptables-nft", "iptables-legacy"}) {
    in_namespace([&program] {
      const std::string lock = std::filesystem::temp_directory_path() / "hawser-test-xtables.lock";
      ::setenv("XTABLES_LOCKFILE", lock.c_str(), 1);
      const std::string run = program + " -t nat ";
      (void)output_of(run + "-A OUTPUT -p tcp --dport 5555 -j REDIRECT --to-ports 80; " + run + "-N MINE; " + run +
                      "-A OUTPUT -j MINE");
      const std::string before = everything();
      ASSERT_THAT(observe_foreign().value(), IsEmpty());
      EXPECT_TRUE(check_foreign());
      for (const std::string chain : {"PROXY_INIT_OUTPUT", "KUMA_MESH_OUTBOUND", "CONSUL_PROXY_OUTPUT"})
        (void)output_of(run + "-N " + chain + "; " + run + "-A " + chain + " -m owner --uid-owner 5 -j RETURN; " + run +
                        "-I OUTPUT -p tcp -j " + chain);
      EXPECT_NE(everything(), before);
      const auto found = check_foreign();
      ASSERT_FALSE(found) << program;
      EXPECT_EQ(found.error().id(), "HWS-NF-054");
      for (const char* mesh : {"Linkerd", "Kuma", "Consul"})
        EXPECT_THAT(found.error().to_string(), HasSubstr(std::string(mesh) + " ("));
      const auto removed = remove_foreign(Plan{});
      EXPECT_TRUE(removed) << removed.error().to_string();
      EXPECT_EQ(everything(), before) << program;
      EXPECT_TRUE(remove_foreign(Plan{})) << "nothing to remove is fine";
      ::unsetenv("XTABLES_LOCKFILE");
      (void)::unlink(lock.c_str());
    });
  }
}

}  // namespace
}  // namespace hawser::netfilter
