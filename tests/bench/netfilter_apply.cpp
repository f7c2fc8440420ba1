// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What netfilter/ costs by itself, in the network namespace that it's started in; a line of JSON on standard output.
//   bench-netfilter apply RUNS         apply, re-apply and remove by both backends; plans
//   bench-netfilter text FOLDER        the rules as nft and iptables-restore read them
//   bench-netfilter listen PORT        says its port to whoever connects, until it's killed
//   bench-netfilter connect HOST PORT COUNT     the median time of connect(2) in µs
//   bench-netfilter tally COUNT HOST…  connects to port 80 of each in turn, and counts which port answered
//   bench-netfilter hold BACKEND NETWORKS ONE_MORE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "netfilter/emit_nft.h"
#include "netfilter/emit_xtables.h"
#include "netfilter/iptc_backend.h"
#include "netfilter/iptc_table.h"
#include "netfilter/nft_backend.h"
#include "netfilter/nft_socket.h"
#include "netfilter/plan.h"

namespace hawser::netfilter {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench-netfilter: %s\n", what.c_str());
  std::exit(1);
}

double ms_since(Clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
}

std::string network(unsigned i) {
  return "10." + std::to_string(100 + i / 250) + "." + std::to_string(i % 250) + ".0/24";
}

// Both directions and families; with more excluded networks than compile() takes, they're put in afterwards.
Intent ordinary() {
  Intent intent;
  intent.ipv6 = true;
  intent.exempt_uids = {881, 882};
  intent.exempt_gids = {881, 882};
  intent.outbound_exclude = {{3306, 3306}, {5432, 5440}};
  intent.inbound_exclude = {{9100, 9100}};
  intent.outbound_exclude_cidrs = {"10.200.0.0/16", "fd99::/64"};
  intent.never = {{"10.77.0.10", 15012}};
  return intent;
}

Plan plan_with(unsigned networks, const std::string& more = {}) {
  auto plan = compile(ordinary());
  if (!plan) die(plan.error().to_string());
  if (networks == 0 && more.empty()) return std::move(*plan);
  for (Rule& rule : plan->rules) {
    if (rule.purpose != Purpose::kExcludedCidr || rule.match.family != Family::kIpv4) continue;
    rule.match.destinations.clear();
    for (unsigned i = 0; i < networks; ++i) rule.match.destinations.push_back(parse_cidr(network(i)).value());
    if (!more.empty()) rule.match.destinations.push_back(parse_cidr(more).value());
    rule.match.destinations = normalised(std::move(rule.match.destinations));
  }
  plan->digest = std::string(56, '0') + std::to_string(10000000 + networks);
  return std::move(*plan);
}

class Figures {
 public:
  void time(const std::string& name, const std::function<Status()>& work) {
    const auto begun = Clock::now();
    if (auto done = work(); !done) die(name + ": " + done.error().to_string());
    samples_[name].push_back(ms_since(begun));
  }
  void note(const std::string& name, double value) { samples_[name].push_back(value); }
  void print() const {
    std::string out;
    for (const auto& [name, values] : samples_) {
      out += (out.empty() ? "{" : ", ") + ("\"" + name + "\": [");
      for (std::size_t i = 0; i < values.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(values[i]);
      out += "]";
    }
    std::printf("%s}\n", out.c_str());
  }

 private:
  std::map<std::string, std::vector<double>> samples_;
};

void measure(Backend& backend, const std::string& lane, Figures& figures) {
  const Plan plan = plan_with(0);
  Plan other = plan;
  other.digest.front() = other.digest.front() == 'f' ? 'e' : 'f';
  for (Rule& rule : other.rules)
    if (rule.purpose == Purpose::kExcludedPort) rule.match.destination_ports = {{7777, 7777}};
  const Plan large = plan_with(5000);
  figures.time(lane + " apply", [&] { return backend.apply(plan); });
  figures.time(lane + " change", [&] { return backend.apply(other); });
  figures.time(lane + " same", [&] { return backend.apply(other); });
  figures.time(lane + " observe", [&] { return backend.observe() ? Status() : Status(backend.observe().error()); });
  figures.time(lane + " 5000", [&] { return backend.apply(large); });
  figures.time(lane + " remove", [&] { return backend.remove_rules(); });
  if (auto gone = backend.remove_anchor(); !gone) die(gone.error().to_string());
}

// The hooks of a plan and a use of connection tracking, without rules, told to the kernel by a process that runs.
void nft_floor(nft_ctx* context, Figures& figures) {
  const auto run = [&](const char* commands) {
    return ::nft_run_cmd_from_buffer(context, commands) == 0 ? Status() : Error(Code::kInternal, "", "nft refused it");
  };
  figures.time("nftables floor", [&] {
    return run(
        "table inet floor { chain o { type nat hook output priority -101; ct state established accept; }; "
        "chain p { type nat hook prerouting priority -101; }; }");
  });
  if (auto gone = run("delete table inet floor"); !gone) die(gone.error().to_string());
}

// An empty chain in both families: read, written, and read once more.
Status write_chains(const OwnRules& rules) {
  for (int look = 0; look < 2; ++look)
    for (const Family family : kFamilies) {
      auto table = IptcTable::open(family, XtTable::kNat);
      if (!table) return table.error();
      if (look > 0) continue;
      if (auto put = (*table)->replace(rules); !put) return put;
      if (auto put = (*table)->commit(); !put) return put;
    }
  return {};
}

void xtables_floor(Figures& figures) {
  figures.time("xtables floor", [] { return write_chains({{{"HAWSER_FLOOR", {}}}, {}}); });
  if (auto gone = write_chains({}); !gone) die(gone.error().to_string());
}

int apply(int runs) {
  auto nft = NftBackend::make();
  if (!nft) die(nft.error().to_string());
  auto context = open_context();
  if (!context) die(context.error().to_string());
  IptcBackend xtables;
  Figures figures;
  for (int run = 0; run <= runs; ++run) {
    Figures warming;  // the first round isn't counted: modules are loaded, tables come to be
    Figures& into = run == 0 ? warming : figures;
    nft_floor(context->context, into);
    measure(**nft, "nftables", into);
    xtables_floor(into);
    measure(xtables, "xtables", into);
    Intent large = ordinary();
    for (unsigned i = 0; i < 10'000; ++i) large.outbound_exclude_cidrs.push_back(network(i));
    const auto begun = Clock::now();
    if (compile(large)) into.note("plan 10000", ms_since(begun));
  }
  figures.note("rules", static_cast<double>(plan_with(0).rules.size()));
  figures.print();
  return 0;
}

int text(const std::string& folder) {
  for (const unsigned networks : {0U, 5000U}) {
    const Plan plan = plan_with(networks);
    std::string nft = emit_nft(plan, Existing::kNothing, "bench");
    // Without an owner, which would end with the command; and replaceable, as a file for `nft -f` is.
    const std::string owner = "flags owner\n";
    for (auto at = nft.find(owner); at != std::string::npos; at = nft.find(owner)) nft.erase(at, owner.size());
    nft = "add table inet bench\ndelete table inet bench\n" + nft;
    const auto form = emit_xtables(plan);
    if (!form) die(form.error().to_string());
    const std::string stem = folder + "/rules-" + std::to_string(networks);
    std::ofstream(stem + ".nft") << nft;
    std::ofstream(stem + ".v4") << to_iptables(*form, Family::kIpv4);
    std::ofstream(stem + ".v6") << to_iptables(*form, Family::kIpv6);
  }
  return 0;
}

sockaddr_in address_of(const char* host, int port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::inet_pton(AF_INET, host, &out.sin_addr) != 1) die(std::string(host) + " is no IPv4 address");
  return out;
}

// In both families.
int listen_on(int port) {
  UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(static_cast<std::uint16_t>(port));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 4096) != 0)
    die("the port can't be listened on");
  std::printf("up\n");
  std::fflush(stdout);
  const std::string banner = std::to_string(port);
  for (;;) {
    UniqueFd client(::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client) (void)::send(client.get(), banner.data(), banner.size(), MSG_NOSIGNAL);
  }
}

std::string answer_of(const sockaddr* address, socklen_t size) {
  UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const linger reset{1, 0};  // no TIME_WAIT, so ports never run out
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  const timeval patience{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(fd.get(), address, size) != 0) return std::strerror(errno);
  char text[16];
  const auto n = ::recv(fd.get(), text, sizeof text, 0);
  if (n < 0) return std::strerror(errno);
  return n == 0 ? "nothing" : std::string(text, static_cast<std::size_t>(n));
}

int tally(int count, const std::vector<std::string>& hosts) {
  std::map<std::string, int> seen;
  for (int i = 0; i < count; ++i) {
    const std::string& host = hosts[static_cast<std::size_t>(i) % hosts.size()];
    if (host.find(':') == std::string::npos) {
      const sockaddr_in address = address_of(host.c_str(), 80);
      ++seen[answer_of(reinterpret_cast<const sockaddr*>(&address), sizeof address)];
      continue;
    }
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(80);
    if (::inet_pton(AF_INET6, host.c_str(), &address.sin6_addr) != 1) die(host + " is no address");
    ++seen[answer_of(reinterpret_cast<const sockaddr*>(&address), sizeof address)];
  }
  std::string out;
  for (const auto& [name, number] : seen)
    out += (out.empty() ? "{\"" : ", \"") + name + "\": " + std::to_string(number);
  std::printf("%s}\n", out.c_str());
  return 0;
}

int connect_to(const char* host, int port, int count) {
  const sockaddr_in address = address_of(host, port);
  std::vector<double> samples;
  for (int i = 0; i < count; ++i) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const linger reset{1, 0};  // no TIME_WAIT, so ports never run out
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const auto begun = Clock::now();
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("can't connect");
    samples.push_back(ms_since(begun) * 1000);
  }
  std::sort(samples.begin(), samples.end());
  std::printf("%.2f\n", samples[samples.size() / 2]);
  return 0;
}

// Holds the rules while its standard input is open: what the connections of others then cost.
int hold(const std::string& backend, unsigned networks, const std::string& more) {
  std::unique_ptr<Backend> by;
  if (backend == "nftables") {
    auto nft = NftBackend::make();
    if (!nft) die(nft.error().to_string());
    by = std::move(*nft);
  } else {
    by = std::make_unique<IptcBackend>();
  }
  if (auto applied = by->apply(plan_with(networks, more)); !applied) die(applied.error().to_string());
  std::printf("up\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) continue;
  (void)by->remove_rules();
  (void)by->remove_anchor();
  return 0;
}

}  // namespace
}  // namespace hawser::netfilter

int main(int argc, char** argv) {
  using namespace hawser::netfilter;
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "apply" && argc == 3) return apply(std::atoi(argv[2]));
  if (what == "text" && argc == 3) return text(argv[2]);
  if (what == "listen" && argc == 3) return listen_on(std::atoi(argv[2]));
  if (what == "connect" && argc == 5) return connect_to(argv[2], std::atoi(argv[3]), std::atoi(argv[4]));
  if (what == "tally" && argc > 3) return tally(std::atoi(argv[2]), {argv + 3, argv + argc});
  if (what == "hold" && argc == 5) return hold(argv[2], static_cast<unsigned>(std::atoi(argv[3])), argv[4]);
  die("apply RUNS | text FOLDER | listen PORT | connect HOST PORT COUNT | tally COUNT HOST… | hold BACKEND NETWORKS "
      "ONE_MORE");
}
