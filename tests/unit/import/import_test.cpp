// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "config/load.h"
#include "import/importer.h"

namespace hawser::import {
namespace {

struct Read {
  config::Interception settings;
  std::vector<std::string> warnings;
  std::string yaml;
};

// Imported, and then loaded as hawser.yaml is.
Read must(const Result<Imported>& imported) {
  EXPECT_TRUE(imported) << imported.error().to_string();
  if (!imported) return {};
  const auto loaded = config::parse(imported->yaml, "h.yaml");
  EXPECT_TRUE(loaded.errors.empty()) << imported->yaml << loaded.errors[0].to_string();
  return {loaded.config.interception, imported->warnings, imported->yaml};
}

Read istio(std::vector<std::string> flags, const std::string& environment = {}) {
  return must(import_istio({environment, "sidecar.env", std::move(flags)}));
}
Read director(std::vector<std::string> flags, const std::string& environment = {}) {
  return must(import_traffic_director({environment, "sidecar.env", std::move(flags)}));
}

std::string refused(std::vector<std::string> flags, const std::string& environment = {}) {
  const auto imported = import_istio({environment, "sidecar.env", std::move(flags)});
  return imported ? "accepted" : imported.error().to_string();
}

bool warned(const Read& read, const std::string& words) {
  for (const std::string& warning : read.warnings)
    if (warning.find(words) != std::string::npos) return true;
  return false;
}

std::vector<std::uint32_t> firsts(const std::vector<config::PortRange>& ranges) {
  std::vector<std::uint32_t> out;
  for (const auto& range : ranges) out.push_back(range.first);
  return out;
}

using Ports = std::vector<std::uint32_t>;
using Texts = std::vector<std::string>;

TEST(ImportIstio, EveryFlagThatSaysWhatIsCaptured) {
  const Read read = istio({"-u",
                           "1337,0",
                           "-g",
                           "1337",
                           "-m",
                           "TPROXY",
                           "-t",
                           "1400",
                           "-r",
                           "200",
                           "-b",
                           "8080,9000",
                           "-c",
                           "eth1,docker+",
                           "-i",
                           "10.0.0.0/8",
                           "-x",
                           "10.1.0.0/16",
                           "-q",
                           "443",
                           "-o",
                           "5432",
                           "-e",
                           "15018",
                           "--redirect-dns",
                           "--capture-all-dns",
                           "--drop-invalid"});
  const auto& in = read.settings;
  EXPECT_EQ(in.exempt.uids, (std::vector<netfilter::IdRange>{1337, 0}));
  EXPECT_EQ(in.exempt.gids, (std::vector<std::uint32_t>{1337}));
  EXPECT_EQ(in.mode, netfilter::InboundMode::kTproxy);
  EXPECT_EQ(in.tproxy.mark, 1400U);
  EXPECT_EQ(in.tproxy.table, 200U);
  EXPECT_TRUE(in.inbound);
  EXPECT_EQ(firsts(in.inbound_ports), (Ports{8080, 9000}));
  EXPECT_EQ(in.exclude_interfaces, (Texts{"eth1", "docker*"}));
  EXPECT_TRUE(in.outbound);
  EXPECT_EQ(in.outbound_cidrs, (Texts{"10.0.0.0/8"}));
  EXPECT_EQ(in.outbound_exclude_cidrs, (Texts{"10.1.0.0/16"}));
  EXPECT_EQ(firsts(in.outbound_ports), (Ports{443}));
  EXPECT_EQ(firsts(in.outbound_exclude_ports), (Ports{5432}));
  EXPECT_EQ(in.hbone_port, 15018U);
  EXPECT_EQ(in.dns, netfilter::Dns::Capture::kAll);
  EXPECT_TRUE(in.drop_invalid);
  EXPECT_TRUE(warned(read, "what root sends isn't captured"));
  EXPECT_TRUE(warned(read, "never matched"));
}

TEST(ImportIstio, EveryVariableThatSaysWhatIsCaptured) {
  const Read read = istio({}, R"(# comment
export ISTIO_INBOUND_PORTS="*"
ISTIO_LOCAL_EXCLUDE_PORTS=22,15090  # and a comment
ISTIO_SERVICE_CIDR='*'
ISTIO_SERVICE_EXCLUDE_CIDR=192.168.0.0/16,fd00::/8
ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE=3306
ISTIO_OUTBOUND_PORTS=
ISTIO_EXCLUDE_INTERFACES=eth2
ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=100,101
ISTIO_META_DNS_CAPTURE=true
INVALID_DROP=true
DNS_PROXY_ADDR=localhost:15153
INBOUND_INTERCEPTION_MODE=REDIRECT
)");
  const auto& in = read.settings;
  EXPECT_TRUE(in.inbound && in.outbound);
  EXPECT_TRUE(in.inbound_ports.empty());
  EXPECT_EQ(firsts(in.inbound_exclude), (Ports{22, 15090}));
  EXPECT_TRUE(in.outbound_cidrs.empty());
  EXPECT_EQ(in.outbound_exclude_cidrs, (Texts{"192.168.0.0/16", "fd00::/8"}));
  EXPECT_EQ(firsts(in.outbound_exclude_ports), (Ports{3306}));
  EXPECT_EQ(in.exclude_interfaces, Texts{"eth2"});
  EXPECT_EQ(in.groups_exclude, (std::vector<std::uint32_t>{100, 101}));
  EXPECT_EQ(in.dns, netfilter::Dns::Capture::kResolvers);
  EXPECT_EQ(in.dns_port, 15153);
  EXPECT_TRUE(in.drop_invalid);
  EXPECT_EQ(in.hbone_port, 15008U) << "which Istio always leaves alone";
  EXPECT_TRUE(read.warnings.empty()) << read.warnings[0];
}

TEST(ImportIstio, OwnerGroupsAreIncluded) {
  EXPECT_EQ(istio({}, "ISTIO_OUTBOUND_OWNER_GROUPS=100,root").settings.groups_include,
            (std::vector<std::uint32_t>{100, 0}));
  EXPECT_TRUE(istio({}, "ISTIO_OUTBOUND_OWNER_GROUPS=*").settings.groups_include.empty());
}

TEST(ImportIstio, AFlagWinsOverTheEnvironment) {
  const std::string environment = "ISTIO_INBOUND_PORTS=80\nISTIO_SERVICE_CIDR=*\n";
  EXPECT_EQ(firsts(istio({"--istio-inbound-ports=81"}, environment).settings.inbound_ports), (Ports{81}));
  EXPECT_EQ(firsts(istio({"-b82"}, environment).settings.inbound_ports), (Ports{82}));
  EXPECT_EQ(firsts(istio({}, environment).settings.inbound_ports), (Ports{80}));
}

TEST(ImportIstio, WhatIsNotNamedIsNotCaptured) {
  const Read read = istio({});
  EXPECT_FALSE(read.settings.inbound);
  EXPECT_FALSE(read.settings.outbound);
  EXPECT_TRUE(warned(read, "nothing is captured"));
  EXPECT_TRUE(istio({"-q", "80"}).settings.outbound);
}

TEST(ImportIstio, WhatWasExcludedWins) {
  const Read read = istio({"-i", "10.0.0.0/8", "-x", "10.0.0.0/8", "-b", "*", "-d", "22"});
  EXPECT_FALSE(read.settings.outbound) << "and not: all is captured";
  const auto& in = istio({"-i", "10.0.0.0/8,11.0.0.0/8", "-x", "10.9.9.9/8"}).settings;
  EXPECT_EQ(in.outbound_cidrs, Texts{"11.0.0.0/8"});
}

TEST(ImportIstio, NamesThatNeverDidWhatTheirDocumentationSaidAreWarnedOf) {
  const Read read = istio({}, "ISTIO_INBOUND_PORTS=*\nISTIO_INBOUND_EXCLUDE_PORTS=8081\nISTIO_PILOT_PORT=15012\n");
  EXPECT_TRUE(warned(read, "sidecar.env:2: ISTIO_INBOUND_EXCLUDE_PORTS was never read"));
  EXPECT_TRUE(read.settings.inbound_exclude.empty());
  EXPECT_TRUE(warned(read, "port 22 was captured by Istio"));
  EXPECT_TRUE(warned(read, "sidecar.env:3: ISTIO_PILOT_PORT says nothing about interception"));
  EXPECT_TRUE(warned(istio({"--iptables-trace-logging"}), "had no effect in Istio either"));
  EXPECT_TRUE(warned(istio({"-b", "80", "-d", "81"}), "was only looked at where all inbound ports"));
  EXPECT_TRUE(warned(istio({"--capture-all-dns"}), "had no effect without --redirect-dns"));
}

TEST(ImportIstio, WhatHasNoEquivalentIsWarnedOf) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"-p", "15101"}, "-p: Hawser's proxy listens on 15001"},
      {{"-z", "15106"}, "-z: Hawser's proxy listens on 15006"},
      {{"-k", "tap0"}, "behind this host"},
      {{"-n"}, "'hawser intercept plan' shows the rules"},
      {{"--iptables-probe-port=1"}, "a port of its own"},
      {{"--probe-timeout=1s"}, "a time-out of its own"},
      {{"--skip-rule-apply"}, "leave interception disabled"},
      {{"--run-validation"}, "always probes"},
      {{"--network-namespace=x"}, "in that namespace"},
      {{"--cni-mode"}, "isn't for pods"},
      {{"--reconcile"}, "in one step"},
      {{"--cleanup-only"}, "'hawser intercept remove'"},
      {{"--force-apply"}, "isn't applied twice"},
      {{"--native-nftables"}, "takes nftables"},
      {{"--force-iptables-binary=legacy"}, "no program is run"},
      {{"--dual-stack"}, "where the proxy listens in it"},
  };
  for (const auto& [flags, words] : cases) EXPECT_TRUE(warned(istio(flags), words)) << words;
  EXPECT_FALSE(warned(istio({"--cni-mode=false"}), "isn't for pods"));
  EXPECT_TRUE(warned(istio({}, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.1/8"), "through lo alone"));
  EXPECT_TRUE(warned(istio({}, "ISTIO_CUSTOM_IP_TABLES=true"), "left the rules to somebody else"));
}

TEST(ImportIstio, MoreThanAPlanTakesIsRefused) {
  std::string ports = "1";
  for (int port = 2; port < 2000; ++port) ports += "," + std::to_string(port);
  EXPECT_NE(refused({"-b", ports}).find("[HWS-IM-005]"), std::string::npos);
}

TEST(ImportIstio, BadInputIsOneLineWithItsPlaceAndAFix) {
  const std::pair<std::string, const char*> cases[] = {
      {refused({"--istio-inbound-port=80"}), "[HWS-IM-001]"},
      {refused({"-b"}), "-b has no value"},
      {refused({"-b", "70000"}), "-b: '70000' is not a port"},
      {refused({"-b", "0"}), "[HWS-IM-003]"},
      {refused({"-q", "90-80"}), "is inverted"},
      {refused({"-i", "10.0.0.0/33"}), "-i: \"10.0.0.0/33\" is neither an address nor a network"},
      {refused({"-x", "*"}), "[HWS-IM-003]"},
      {refused({"-c", "averyveryverylongname"}), "too long"},
      {refused({"-m", "BOTH"}), "is not REDIRECT or TPROXY"},
      {refused({"-t", "0"}), "is no mark of ours"},
      {refused({"-r", "254"}), "is no routing table of ours"},
      {refused({"-u", "istio proxy"}), "is no user or group"},
      {refused({"-e", "15006"}), "is another port of the proxy"},
      {refused({}, "ISTIO_INBOUND_PORTS=80\nnonsense\n"), "sidecar.env:2: this line sets nothing"},
      {refused({}, "\nISTIO_INBOUND_PORTS=x\n"), "sidecar.env:2: 'x' is not a port"},
      {refused({}, "ISTIO_OUTBOUND_OWNER_GROUPS=1\nISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=2"), "keep one of the two"},
  };
  for (const auto& [line, words] : cases) {
    EXPECT_NE(line.find(words), std::string::npos) << line;
    EXPECT_NE(line.find("fix:"), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
}

TEST(ImportTrafficDirector, FlagsBecomeOurKeys) {
  const Read read = director({"-p", "15001", "-u", "1000", "-g", "1001", "-m", "REDIRECT", "-b", "*", "-d", "8081",
                              "-i", "10.0.0.0/8", "-x", "10.1.0.0/16"});
  const auto& in = read.settings;
  EXPECT_TRUE(in.inbound && in.outbound);
  EXPECT_TRUE(in.inbound_ports.empty());
  EXPECT_EQ(firsts(in.inbound_exclude), (Ports{8081}));
  EXPECT_EQ(in.outbound_cidrs, Texts{"10.0.0.0/8"});
  EXPECT_EQ(in.outbound_exclude_cidrs, Texts{"10.1.0.0/16"});
  EXPECT_EQ(in.exempt.uids, (std::vector<netfilter::IdRange>{1000}));
  EXPECT_FALSE(in.self_call);
}

TEST(ImportTrafficDirector, OutboundAloneIsItsDefault) {
  const auto& in = director({}).settings;
  EXPECT_TRUE(in.outbound && in.outbound_cidrs.empty());
  EXPECT_FALSE(in.inbound);
}

TEST(ImportTrafficDirector, ItsEnvironmentIsReadToo) {
  const Read read = director({"clean"}, R"(SERVICE_CIDR="*"
ENVOY_USER=envoy
EXCLUDE_ENVOY_USER_FROM_INTERCEPT='false'
BACKEND_INBOUND_PORTS='8080'
ENVOY_PORT='15101'
ENVOY_DNS_PORT=15353
LOG_DIR='/var/log/envoy/'
)");
  EXPECT_EQ(firsts(read.settings.inbound_ports), (Ports{8080}));
  EXPECT_EQ(read.settings.dns, netfilter::Dns::Capture::kAll);
  for (const char* words : {"'clean'", "always exempt", "listens on 15001", "over TCP too", "says nothing"})
    EXPECT_TRUE(warned(read, words)) << words;
}

}  // namespace
}  // namespace hawser::import
