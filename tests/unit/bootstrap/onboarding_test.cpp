// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/onboarding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "config/load.h"
#include "golden.h"

namespace hawser::bootstrap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kRoot = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
constexpr const char* kEnv =
    "ISTIO_INBOUND_PORTS='*'\nISTIO_LOCAL_EXCLUDE_PORTS='22,15090,15021,15020'\nISTIO_NAMESPACE='bookinfo'\n"
    "ISTIO_SERVICE='reviews-vm.bookinfo'\nISTIO_SERVICE_CIDR='*'\nSERVICE_ACCOUNT='reviews-sa'\n";
constexpr const char* kMesh = R"(defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
  proxyMetadata:
    CANONICAL_REVISION: v1
    CANONICAL_SERVICE: reviews
    ISTIO_META_AUTO_REGISTER_GROUP: reviews-vm
    ISTIO_META_CLUSTER_ID: Kubernetes
    ISTIO_META_DNS_CAPTURE: "true"
    ISTIO_META_MESH_ID: mesh1
    ISTIO_META_NETWORK: vm-net
    ISTIO_META_POD_PORTS: '[{"name":"http","containerPort":9080,"protocol":"TCP"},{"containerPort":9081}]'
    ISTIO_META_SOMETHING_NEW: "1"
    ISTIO_META_WORKLOAD_NAME: reviews-vm
    ISTIO_METAJSON_ANNOTATIONS: '{"team":"blue"}'
    ISTIO_METAJSON_LABELS: '{"app":"reviews","istio-locality":"europe.b.rack7","version":"v1"}'
    POD_NAMESPACE: bookinfo
    SERVICE_ACCOUNT: reviews-sa
    TRUST_DOMAIN: mesh.example
  readinessProbe:
    failureThreshold: 4
    httpGet:
      httpHeaders:
      - name: X-Probe
        value: "yes"
      path: /health
      port: 9080
      scheme: HTTP
    periodSeconds: 5
)";

// A whole bundle, in which single files are replaced.
struct BundleFolder : TempFolder {
  BundleFolder() {
    file("root-cert.pem", kRoot);
    file("istio-token", "head.payload.signature\n");
    file("cluster.env", kEnv);
    file("mesh.yaml", kMesh);
    file("hosts", "10.77.0.10 istiod.istio-system.svc\nfd77::10 istiod.istio-system.svc other # gateway\n");
    ::chmod((path() + "/istio-token").c_str(), 0600);
  }
  std::string refusal() const {
    const auto loaded = load_bundle(path());
    return loaded ? "accepted" : loaded.error().to_string();
  }
  std::string refusal_with(const std::string& name, const std::string& content) const {
    file(name, content);
    return refusal();
  }
  std::string yaml() const {
    const auto loaded = load_bundle(path());
    EXPECT_TRUE(loaded) << loaded.error().to_string();
    return loaded ? to_join_yaml(*loaded) : "";
  }
  config::Config config() const {
    const auto parsed = config::parse(yaml(), "50-join.yaml");
    for (const auto& error : parsed.errors) ADD_FAILURE() << error.to_string() << "\n" << yaml();
    return parsed.config;
  }
};

std::string with_probe(const std::string& probe) {
  return "defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\n  readinessProbe:\n" + probe;
}

TEST(JoinYaml, IsAsReviewed) {
  expect_golden("50-join.yaml", BundleFolder().yaml());
}

TEST(JoinYaml, IsReadBackAsWhatTheBundleSaid) {
  const auto config = BundleFolder().config();
  EXPECT_EQ(config.mesh.trust_domain, "mesh.example");
  EXPECT_EQ(config.mesh.ns, "bookinfo");
  EXPECT_EQ(config.mesh.network, "vm-net");
  EXPECT_EQ(config.mesh.id, "mesh1");
  EXPECT_EQ(config.workload.group, "reviews-vm");
  EXPECT_EQ(config.workload.service_account, "reviews-sa");
  EXPECT_EQ(config.workload.labels.at("version"), "v1");
  EXPECT_EQ(config.workload.labels.at("service.istio.io/canonical-name"), "reviews");
  EXPECT_EQ(config.workload.locality, "europe/b/rack7");
  ASSERT_EQ(config.workload.ports.size(), 2U);
  EXPECT_EQ(config.workload.ports[1].port, 9081);
  EXPECT_EQ(config.control_plane.address.text(), "istiod.istio-system.svc:15012");
  EXPECT_THAT(config.control_plane.dial, ElementsAre("10.77.0.10", "fd77::10"));
  EXPECT_EQ(config.control_plane.root_pem, kRoot);
  EXPECT_TRUE(config.ca.address.empty());
}

TEST(JoinYaml, TakesOverWhatTheStockAgentIsToldOfCertificates) {
  BundleFolder folder;
  folder.file("cluster.env",
              std::string(kEnv) +
                  "CA_ADDR='ca.example:443'\nCA_ROOT_CA='SYSTEM'\nCA_HEADER_X_TENANT='blue one'\n"
                  "ISTIO_META_CERT_SIGNER='clusterissuers.cert-manager.io/vms'\nSECRET_TTL='1h30m0s'\n"
                  "SECRET_GRACE_PERIOD_RATIO='0.25'\nECC_SIGNATURE_ALGORITHM='ECDSA'\nECC_CURVE='P384'\n");
  const auto config = folder.config();
  EXPECT_EQ(config.ca.address.text(), "ca.example:443");
  EXPECT_EQ(config.ca.root_pem, "system");
  EXPECT_EQ(config.ca.headers, (std::map<std::string, std::string>{{"x_tenant", "blue one"}}));
  EXPECT_EQ(config.ca.cert_signer, "clusterissuers.cert-manager.io/vms");
  EXPECT_EQ(config.identity.ttl, std::chrono::minutes(90));
  EXPECT_DOUBLE_EQ(config.identity.renew_at, 0.75);
  EXPECT_EQ(config.identity.key, config::KeyType::kEcP384);
}

TEST(JoinYaml, TakesTheKeyOverFromProxyMetadataToo) {
  BundleFolder folder;
  folder.file("mesh.yaml",
              "defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\n  proxyMetadata:\n"
              "    WORKLOAD_RSA_KEY_SIZE: \"3072\"\n    CA_HEADER_x_a: metadata\n    CA_HEADER_x-b: b\n");
  folder.file("cluster.env", std::string(kEnv) + "CA_HEADER_X_A='environment'\n");
  const auto config = folder.config();
  EXPECT_EQ(config.identity.key, config::KeyType::kRsa3072);
  EXPECT_EQ(config.ca.headers.at("x_a"), "environment");
  EXPECT_EQ(config.ca.headers.at("x-b"), "b");
}

TEST(JoinYaml, ClampsARenewalThatWouldComeTooEarlyOrTooLate) {
  BundleFolder folder;
  folder.file("cluster.env", std::string(kEnv) + "SECRET_GRACE_PERIOD_RATIO='0.99'\n");
  EXPECT_DOUBLE_EQ(folder.config().identity.renew_at, 0.1);
  const auto bundle = load_bundle(folder.path());
  ASSERT_TRUE(bundle);
  EXPECT_THAT(bundle->warnings, testing::Contains(HasSubstr("SECRET_GRACE_PERIOD_RATIO")));
}

TEST(Onboarding, RefusesCertificateSettingsThatItCantKeep) {
  const BundleFolder folder;
  const std::pair<const char*, const char*> table[] = {
      {"ECC_SIGNATURE_ALGORITHM='ED25519'", "isn't ECDSA"},
      {"ECC_SIGNATURE_ALGORITHM='ECDSA'\nECC_CURVE='P521'", "neither P256 nor P384"},
      {"WORKLOAD_RSA_KEY_SIZE='1024'", "none of 2048"},
      {"SECRET_TTL='a day'", "no lifetime"},
      {"SECRET_TTL='5s'", "no lifetime"},
      {"SECRET_GRACE_PERIOD_RATIO='half'", "no share"}};
  for (const auto& [line, why] : table) {
    const auto refusal = folder.refusal_with("cluster.env", std::string(kEnv) + line + "\n");
    EXPECT_THAT(refusal, HasSubstr("HWS-ON-007")) << line;
    EXPECT_THAT(refusal, HasSubstr(why)) << line;
    EXPECT_THAT(refusal, HasSubstr("/cluster.env: ")) << line;
  }
}

TEST(JoinYaml, CarriesMetadataThatItDoesNotKnow) {
  const auto config = BundleFolder().config();
  EXPECT_EQ(config.workload.metadata.at("SOMETHING_NEW"), "1");
  EXPECT_EQ(config.workload.metadata.at("ISTIO_METAJSON_ANNOTATIONS"), R"({"team":"blue"})");
  EXPECT_EQ(config.workload.metadata.count("MESH_ID"), 0U);
}

TEST(JoinYaml, TakesTheProbeOver) {
  const auto health = BundleFolder().config().health.program;
  EXPECT_EQ(health.kind, config::HealthProbe::Kind::kHttp);
  EXPECT_EQ(health.http_path, "/health");
  EXPECT_EQ(health.port, 9080);
  EXPECT_EQ(health.http_headers.at("X-Probe"), "yes");
  EXPECT_EQ(health.period, std::chrono::seconds(5));
  EXPECT_EQ(health.failure_threshold, 4U);
}

TEST(JoinYaml, TakesTcpAndCommandProbesOver) {
  BundleFolder folder;
  folder.file("mesh.yaml", with_probe("    tcpSocket: {port: 5432}\n"));
  EXPECT_EQ(folder.config().health.program.kind, config::HealthProbe::Kind::kTcp);
  EXPECT_EQ(folder.config().health.program.port, 5432);
  folder.file("mesh.yaml", with_probe("    exec:\n      command: [\"/bin/check\", \"a: b\", \"#x\"]\n"));
  EXPECT_THAT(folder.config().health.program.command, ElementsAre("/bin/check", "a: b", "#x"));
}

TEST(JoinYaml, TakesHttpsAndGrpcProbesOver) {
  BundleFolder folder;
  folder.file("mesh.yaml", with_probe("    httpGet: {port: 8443, scheme: HTTPS}\n"));
  EXPECT_TRUE(folder.config().health.program.tls);
  folder.file("mesh.yaml", with_probe("    grpc: {port: 9000, service: shop.Cart}\n"));
  EXPECT_EQ(folder.config().health.program.kind, config::HealthProbe::Kind::kGrpc);
  EXPECT_EQ(folder.config().health.program.grpc_service, "shop.Cart");
}

TEST(JoinYaml, MapsWhatIsCaptured) {
  BundleFolder folder;
  auto interception = folder.config().interception;
  EXPECT_TRUE(interception.inbound && interception.outbound);
  EXPECT_THAT(interception.inbound_ports, IsEmpty());
  EXPECT_EQ(interception.inbound_exclude.size(), 4U);

  folder.file(
      "cluster.env",
      "ISTIO_INBOUND_PORTS='9080, 9081'\nISTIO_SERVICE_CIDR='*'\nISTIO_SERVICE_EXCLUDE_CIDR='10.0.0.0/8,192.0.2.1/32'\n"
      "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE='3306'\nISTIO_SVC_IP='192.0.2.9'\nCA_ADDR='istiod-blue.istio-system.svc:"
      "15012'\n");
  const auto config = folder.config();
  EXPECT_EQ(config.interception.inbound_ports.size(), 2U);
  EXPECT_THAT(config.interception.outbound_exclude_cidrs, ElementsAre("10.0.0.0/8", "192.0.2.1/32"));
  EXPECT_EQ(config.interception.outbound_exclude_ports.size(), 1U);
  EXPECT_THAT(config.workload.addresses, ElementsAre("192.0.2.9"));
  EXPECT_EQ(config.ca.address.text(), "istiod-blue.istio-system.svc:15012");
}

TEST(JoinYaml, AnEmptySettingCapturesNothing) {
  BundleFolder folder;
  folder.file("cluster.env", "ISTIO_INBOUND_PORTS=''\nISTIO_SERVICE_CIDR=''\n");
  EXPECT_FALSE(folder.config().interception.inbound);
  EXPECT_FALSE(folder.config().interception.outbound);
}

TEST(Bundle, WithoutAHostsEntryNothingIsDialledByAddress) {
  BundleFolder folder;
  folder.file("hosts", "");
  const auto loaded = load_bundle(folder.path());
  ASSERT_TRUE(loaded);
  EXPECT_THAT(loaded->dial, IsEmpty());
  EXPECT_THAT(loaded->warnings, IsEmpty());
  folder.file("hosts", "10.77.0.10 another.name\n");
  EXPECT_THAT(load_bundle(folder.path())->warnings, ElementsAre(HasSubstr("looked up in DNS")));
}

TEST(Bundle, ATokenThatOthersCouldReadIsClosedAndTold) {
  BundleFolder folder;
  const std::string token = folder.path() + "/istio-token";
  ::chmod(token.c_str(), 0744);
  const auto loaded = load_bundle(folder.path());
  ASSERT_TRUE(loaded);
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("fixed: its mode is 0600")));
  struct stat info {};
  ASSERT_EQ(::stat(token.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST(Bundle, EveryMissingFileIsNamed) {
  for (const char* name : {"root-cert.pem", "istio-token", "cluster.env", "mesh.yaml", "hosts"}) {
    BundleFolder folder;
    std::filesystem::remove(folder.path() + "/" + name);
    const auto refused = folder.refusal();
    EXPECT_THAT(refused, HasSubstr(name));
    EXPECT_THAT(refused, HasSubstr("(fix: "));
    EXPECT_THAT(refused, HasSubstr("[HWS-ON-001]"));
  }
}

TEST(Bundle, RefusesWhatIsNoToken) {
  EXPECT_THAT(BundleFolder().refusal_with("istio-token", " \n"), HasSubstr("istio-token:1: the token is empty"));
  EXPECT_THAT(BundleFolder().refusal_with("istio-token", "error: not found\n"), HasSubstr("[HWS-ON-002]"));
}

TEST(Bundle, RefusesARootWithoutACertificate) {
  EXPECT_THAT(BundleFolder().refusal_with("root-cert.pem", "nothing"),
              HasSubstr("root-cert.pem:1: no PEM certificate"));
  EXPECT_THAT(BundleFolder().refusal_with("root-cert.pem", "-----BEGIN CERTIFICATE-----\nMII"),
              HasSubstr("[HWS-ON-003]"));
}

TEST(Bundle, PlacesEveryProblemOfMeshYaml) {
  EXPECT_THAT(BundleFolder().refusal_with("mesh.yaml", "defaultConfig:\n  discoveryAddress: [\n"),
              HasSubstr("mesh.yaml:3:1: not YAML"));
  EXPECT_THAT(BundleFolder().refusal_with("mesh.yaml", "other: 1\n"), HasSubstr("defaultConfig is missing"));
  EXPECT_THAT(BundleFolder().refusal_with("mesh.yaml", "- 1\n"), HasSubstr("defaultConfig is missing"));
  EXPECT_THAT(BundleFolder().refusal_with("mesh.yaml", "defaultConfig: {a: b}\n"),
              HasSubstr("discoveryAddress is missing"));
  EXPECT_THAT(BundleFolder().refusal_with("mesh.yaml", "defaultConfig:\n  discoveryAddress: istiod\n"),
              HasSubstr("mesh.yaml:2:21: defaultConfig.discoveryAddress 'istiod' is no HOST:PORT"));
  EXPECT_THAT(BundleFolder().refusal_with("mesh.yaml",
                                          "defaultConfig:\n  discoveryAddress: a:1\n  proxyMetadata:\n    A: [1]\n"),
              HasSubstr("mesh.yaml:4:8: proxyMetadata.A must be a single value"));
  EXPECT_THAT(
      BundleFolder().refusal_with(
          "mesh.yaml", "defaultConfig:\n  discoveryAddress: a:1\n  proxyMetadata:\n    ISTIO_METAJSON_LABELS: app\n"),
      HasSubstr("mesh.yaml:4:28: ISTIO_METAJSON_LABELS isn't a JSON object"));
}

TEST(Bundle, RefusesWhatHawserDoesNotDo) {
  const auto scheme = BundleFolder().refusal_with("mesh.yaml", with_probe("    httpGet: {port: 1, scheme: FTP}\n"));
  EXPECT_THAT(scheme, HasSubstr("mesh.yaml:4:"));
  EXPECT_THAT(scheme, HasSubstr("HTTP or HTTPS"));
  EXPECT_THAT(scheme, HasSubstr("[HWS-ON-007]"));
  EXPECT_THAT(BundleFolder().refusal_with("mesh.yaml", with_probe("    udpSocket: {port: 1}\n")),
              HasSubstr("neither httpGet, tcpSocket, grpc nor exec"));
  EXPECT_THAT(BundleFolder().refusal_with("cluster.env", "ISTIO_SERVICE_CIDR='10.0.0.0/8'\n"),
              HasSubstr("ISTIO_SERVICE_CIDR='10.0.0.0/8'"));
  EXPECT_THAT(BundleFolder().refusal_with("cluster.env", "ISTIO_INBOUND_INTERCEPTION_MODE='TPROXY'\n"),
              HasSubstr("REDIRECT"));
}

TEST(Bundle, RefusesHostsThatAreNoHosts) {
  EXPECT_THAT(BundleFolder().refusal_with("hosts", "# x\nistiod 10.77.0.10\n"),
              HasSubstr("hosts:2: 'istiod' is no IP address"));
  EXPECT_THAT(BundleFolder().refusal_with("hosts", "10.77.0.10\n"), HasSubstr("[HWS-ON-006]"));
}

}  // namespace
}  // namespace hawser::bootstrap
