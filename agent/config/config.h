// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "netfilter/intent.h"

// What: the whole configuration as one immutable, validated value. The keys are those of hawser.yaml(5); defaults are
// the member initialisers. Threading: a value. Units: std::chrono.
namespace hawser::config {

using Millis = std::chrono::milliseconds;

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
};

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  bool empty() const { return host.empty(); }
  std::string text() const;  // brackets around an IPv6 address
};

struct Users {
  // A name or a number; resolved by resolve_user() when needed, so that `config check` works on any machine.
  std::string agent = "hawser";
  std::string proxy = "hawser-proxy";
  std::string admin_group = "hawser-admin";
};

struct Mesh {
  std::string trust_domain = "cluster.local";
  std::string id;
  std::string cluster_id = "Kubernetes";
  std::string network;
  std::string ns = "default";  // key: namespace
};

struct ServicePort {
  std::string name;
  std::uint16_t port = 0;
  std::string protocol = "TCP";
};

// Which of the host's addresses is told, where none is given (bootstrap/address.h).
enum class AddressFamily { kAny, kV4, kV6, kDual };
struct AddressRule {
  std::string interface;
  std::vector<std::string> cidrs;  // key: cidr
  AddressFamily family = AddressFamily::kAny;
  bool given = false;
};

struct Workload {
  std::string name;
  std::string group;  // WorkloadGroup to register with; empty: no auto-registration
  std::string service_account = "default";
  std::map<std::string, std::string> labels;
  std::vector<std::string> addresses;  // key: address (one or a list); empty: found by address_rule
  AddressRule address_rule;
  std::vector<ServicePort> ports;
  std::string locality;  // region/zone/sub-zone
  std::map<std::string, std::string> metadata;
  Millis withdraw_wait{5000};  // between telling the plane and going, for callers to hear of it
};

// The last-good snapshot (agent/snapshot_keeper.h).
struct SnapshotSettings {
  bool enabled = true;
  std::chrono::seconds max_age{24 * 3600};  // of the last moment at which a control plane agreed with it
  unsigned max_mib = 128;
};

// One of several; 0 is the first choice.
struct PlaneAddress {
  HostPort at;
  unsigned priority = 0;
};

struct HttpProxy {
  HostPort address;                   // key: http_proxy; empty: none
  std::string credentials_file;       // user:password
  std::vector<std::string> no_proxy;  // names, .suffixes, addresses, CIDRs
};

struct ControlPlane {
  HostPort address;                     // empty with `addresses` given: the first of these
  std::vector<PlaneAddress> addresses;  // dialled in place of `address`
  std::vector<std::string> dial;        // addresses dialled in place of the host; the TLS name stays
  std::string tls_name;                 // empty: the host of `address`
  std::string root_pem;                 // key: root
  unsigned fail_over = 3;               // failures in a row, then the next priority
  std::chrono::seconds fail_back{60};   // a better priority must have been well for so long; 0: never
  unsigned max_response_mib = 128;
  SnapshotSettings snapshot;
  HttpProxy http_proxy;
  Millis reconnect_spread{8000};  // the first retry after a lost stream is anywhere in this time
  const std::string& server_name() const { return tls_name.empty() ? address.host : tls_name; }
};

// Who certifies this host. Which of the members count is the type's business (docs/identity.md).
struct CaSettings {
  enum class Type { kIstio, kCitadel, kMeshCa, kSpiffe, kFiles, kExec };
  enum class Layout { kAuto, kIstio, kSpiffe, kGke, kCertManager, kHawser };
  Type type = Type::kIstio;
  HostPort address;                     // empty: the control plane's
  std::vector<PlaneAddress> addresses;  // dialled in place of `address`
  std::string tls_name;                 // empty: see Config::ca_server_name()
  std::string root_pem;                 // key: root; empty: the control plane's; `system`: the machine's own
  std::map<std::string, std::string> headers;
  std::string cert_signer;
  std::string location;  // mesh-ca: the zone or region of x-goog-request-params
  std::string socket;    // spiffe: unix:///path of the Workload API
  std::string folder;    // files
  Layout layout = Layout::kAuto;
  std::vector<std::string> command;  // exec
  Millis timeout{10'000};
};

// What proves to the CA who this host is, before there's a certificate.
struct TokenSettings {
  enum class Source { kFile, kExec, kCredential, kGce, kKubernetes };
  Source source = Source::kFile;
  std::string path;                  // file; empty: the one that `hawser join` stored
  std::vector<std::string> command;  // exec
  Millis timeout{10'000};
  std::string credential = "hawser-token";  // systemd's LoadCredential= name
  std::string audience = "istio-ca";
  std::string kubeconfig;
  std::string kube_context;  // key: context; empty: the current one
};

enum class KeyType { kEcP256, kEcP384, kRsa2048, kRsa3072, kRsa4096 };

struct IdentitySettings {
  std::string spiffe_id;  // empty: by trust domain, namespace and service account
  std::chrono::seconds ttl{24 * 3600};
  double renew_at = 0.5;  // share of the lifetime
  double jitter = 0.05;   // share of the lifetime by which that is moved, either way
  KeyType key = KeyType::kEcP256;
  std::vector<double> warn_at = {0.25, 0.1};  // shares of the lifetime that are left, in falling order
  TokenSettings token;
};

struct TrustSettings {
  std::vector<std::string> domain_aliases;
  std::vector<std::string> roots;           // PEM files, trusted besides the CA's
  bool from_control_plane = true;           // istio.mesh.v1alpha1.ProxyConfig
  std::string crl;                          // a PEM file
  std::chrono::seconds overlap{24 * 3600};  // for which a root is kept that the CA no longer sends
  std::vector<std::string> exclude;         // sha256 of roots that are never trusted, lower-case hex
};

// Certificates as files for programs that know nothing of Hawser.
struct ExportSettings {
  enum class Layout { kIstio, kSpiffe, kPem };
  std::string to;  // a folder
  Layout layout = Layout::kPem;
  std::string group;  // may read them; empty: hawserd's own
};

// RSA and EC operations by hardware; passed on to the proxy.
struct PrivateKeyProvider {
  std::string name;  // cryptomb or qat; empty: none
  Millis poll_delay{2};
  bool fallback = true;
};

struct SdsSettings {
  std::vector<std::string> files = {"/etc/certs", "/etc/istio", "/etc/ssl",
                                    "/etc/pki"};  // under which file-cert: and file-root: may name
  PrivateKeyProvider provider;                    // key: private_key_provider
};

// What becomes of captured traffic without a proxy; per direction.
struct OnFailure {
  bool inbound_closed = true;
  bool outbound_closed = false;
  std::chrono::seconds max_open{0};  // what is open is closed after that; 0: it stays open
};

// Users and groups are numbers here: they're resolved when the file is read.
struct Interception {
  bool inbound = true;
  bool outbound = true;
  netfilter::InboundMode mode = netfilter::InboundMode::kRedirect;
  netfilter::Tproxy tproxy;
  std::vector<PortRange> inbound_ports;  // empty, and no services: all
  std::vector<netfilter::Service> services;
  std::vector<PortRange> inbound_exclude;
  std::vector<PortRange> outbound_ports;    // empty, as the next one: all
  std::vector<std::string> outbound_cidrs;  // either has it: captured
  std::vector<PortRange> outbound_exclude_ports;
  std::vector<std::string> outbound_exclude_cidrs;
  netfilter::Owner exempt;  // besides the agent and the proxy
  std::vector<std::uint32_t> groups_include;
  std::vector<std::uint32_t> groups_exclude;
  std::vector<netfilter::UserPorts> user_ports;
  std::vector<std::string> exclude_interfaces;
  bool self_call = false;
  unsigned hbone_port = 0;  // 0: none
  bool drop_invalid = false;
  netfilter::Dns::Capture dns = netfilter::Dns::Capture::kOff;
  std::uint16_t dns_port = 15053;
  std::vector<std::string> dns_resolvers;  // empty: the host's
  OnFailure on_failure;
  std::chrono::seconds confirm{30};  // an apply that isn't confirmed by then is withdrawn by the broker
};

struct HealthProbe {
  enum class Kind { kNone, kHttp, kTcp, kExec, kGrpc };
  Kind kind = Kind::kNone;
  std::string service;  // key: name; empty for the probe of health: itself
  std::string http_path = "/";
  std::string host;
  std::uint16_t port = 0;
  std::map<std::string, std::string> http_headers;
  bool tls = false;         // key: scheme
  std::string ca_pem;       // key: ca; empty: any certificate will do
  std::string server_name;  // SNI, Host, and the name that the certificate must have if `ca_pem` is given
  std::vector<std::string> command;
  std::string grpc_service;    // key: service
  bool through_proxy = false;  // by the proxy's inbound listener and mTLS, as a caller comes
  Millis period{10000};
  double jitter = 0.1;  // share of the period by which each wait is shortened or prolonged
  Millis timeout{1000};
  Millis initial_delay{0};
  unsigned success_threshold = 1;
  unsigned failure_threshold = 3;
};

struct Health {
  HealthProbe program;                // the keys of health: itself
  std::vector<HealthProbe> services;  // their times are those of health: unless they have their own
  bool any = false;                   // key: policy; else all of them must be well
  std::chrono::seconds report_interval{60};
};

struct Proxy {
  unsigned concurrency = 0;  // 0: one worker a core
  std::chrono::seconds drain{5};
  std::chrono::seconds start_timeout{30};
  std::chrono::seconds parent_shutdown{60};
  std::chrono::seconds shutdown_drain{5};  // when the machine shuts down
  // Below warning Envoy writes 133 lines a start.
  std::string log_level = "warning";
  bool json_log = true;
  std::chrono::seconds wedge_after{10};  // 0: never
  std::chrono::seconds probation{1800};  // of a new binary
  std::string hand_over = "auto";        // side-by-side, hot-restart, planned-cold
  std::chrono::seconds canary{5};        // both serve for as long
  bool auto_cold = false;                // may auto choose planned-cold?
  unsigned hand_overs_per_hour = 60;     // that may be asked for; 0: any number
};

// Programs that speak xDS themselves (gRPC): a socket of their own, for these peers only.
struct Proxyless {
  bool enabled = false;
  std::vector<std::string> users;
  std::string group;
};

struct LogSettings {
  log::Level level = log::Level::kInfo;
  log::Format format = log::Format::kText;
};

struct Compat {
  // Keys: compat.istio_extensions: strip, keep.
  bool strip_istio_extensions = true;
};

struct Config {
  LogSettings log;
  Users users;
  Mesh mesh;
  Workload workload;
  ControlPlane control_plane;
  CaSettings ca;
  IdentitySettings identity;
  TrustSettings trust;
  std::vector<ExportSettings> exports;
  SdsSettings sds;
  Interception interception;
  Health health;
  Proxy proxy;
  Compat compat;
  Proxyless proxyless;
  std::uint16_t status_port = 15020;

  // A host is joined once it knows its control plane.
  bool joined() const { return !control_plane.address.empty(); }
  const HostPort& ca_address() const { return ca.address.empty() ? control_plane.address : ca.address; }
  // ca.tls_name; else control_plane.tls_name too, when it is the control plane's host that serves the CA.
  const std::string& ca_server_name() const;
  const std::string& ca_root() const { return ca.root_pem.empty() ? control_plane.root_pem : ca.root_pem; }
  std::string spiffe_id() const;  // identity.spiffe_id, else Istio's form
  // Those that there are, the program's first; a service without a port has the one of its name in workload.ports.
  std::vector<HealthProbe> health_probes() const;
};

}  // namespace hawser::config
