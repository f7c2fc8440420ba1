// SPDX-License-Identifier: Apache-2.0
// A fleet in one process: N agents with the product's relay and a real connection each. Commands come as lines on
// standard input: `report` answers with a line of JSON (census.h), `mark` counts anew, `stop` or the end of the input
// ends. With --simulate there is no network, and the figures of simulation.h are printed.
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "agent.h"
#include "base/asio_loop.h"
#include "base/log.h"
#include "bootstrap/node.h"
#include "census.h"
#include "figures.h"
#include "simulation.h"

namespace hawser::fleet {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// Of a relay: its connection, and an epoll, a timer and an event descriptor for its thread.
constexpr rlim_t kDescriptorsAnAgent = 6;

struct Flags {
  std::size_t agents = 200;
  std::string target = "ipv4:127.0.0.1:15012";
  std::string server_name = "istiod.istio-system.svc";
  std::string roots, chain, key, token;
  std::string first_address = "10.128.0.1";
  bootstrap::NodeOptions node;
  double spread = 8;
  double ramp = 0;
  double good_after = 10;
  double cap = 15;
  bool simulate = false;
  double outage = 0;
  double accepts = 95;
};

std::string read_file(const std::string& path) {
  if (path.empty()) return {};
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

milliseconds in_millis(double seconds) {
  return milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

std::vector<std::string> addresses(const Flags& flags) {
  auto next = boost::asio::ip::make_address_v4(flags.first_address).to_uint();
  std::vector<std::string> out;
  for (std::size_t i = 0; i < flags.agents; ++i) out.push_back(boost::asio::ip::address_v4(next++).to_string());
  return out;
}

bool room_for(std::size_t agents) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur >= agents * kDescriptorsAnAgent + 100;
}

class Fleet {
 public:
  explicit Fleet(const Flags& flags) : flags_(flags), addresses_(addresses(flags)), census_(loop_, addresses_) {
    identity_.certificate = {read_file(flags.key), read_file(flags.chain)};
    identity_.token = read_file(flags.token);
    upstream_.dial_target = flags.target;
    upstream_.server_name = flags.server_name;
    upstream_.roots_pem = read_file(flags.roots);
    upstream_.cluster_id = flags.node.cluster_id;
    upstream_.reconnect_spread = in_millis(flags.spread);
    upstream_.backoff_cap = in_millis(flags.cap);
    upstream_.good_after = in_millis(flags.good_after);
  }

  int run() {
    for (std::size_t i = 0; i < flags_.agents; ++i)
      agents_.push_back(std::make_unique<Agent>(loop_, metrics_, census_, i));
    start_next(0);
    std::thread commands([this] { read_commands(); });
    loop_.run();
    commands.join();
    agents_.clear();
    return EX_OK;
  }

 private:
  // Spread evenly over the ramp: a fleet is rolled out in waves.
  void start_next(std::size_t i) {
    if (i == agents_.size() || stopping_) return;
    bootstrap::NodeOptions node = flags_.node;
    node.addresses = {addresses_[i]};
    node.hostname = node.workload_name + "-" + std::to_string(i);
    agents_[i]->start(bootstrap::node_bytes(node), upstream_, identity_);
    const auto pause = in_millis(flags_.ramp) / static_cast<std::int64_t>(agents_.size());
    ramp_ = loop_.after(pause, [this, i] { start_next(i + 1); });
  }

  void read_commands() {
    for (std::string line; std::getline(std::cin, line) && line != "stop";) {
      loop_.post([this, line] {
        if (line == "report") std::cout << census_.report().dump() << std::endl;
        if (line == "mark") census_.mark();
      });
    }
    loop_.post([this] { stop(); });
  }

  void stop() {
    stopping_ = true;
    left_ = agents_.size();
    for (auto& agent : agents_) {
      agent->stop([this] {
        if (--left_ == 0) loop_.stop();
      });
    }
  }

  const Flags& flags_;
  AsioLoop loop_;
  Metrics metrics_;
  std::vector<std::string> addresses_;
  Census census_;
  Agent::Identity identity_;
  xds::UpstreamOptions upstream_;
  std::vector<std::unique_ptr<Agent>> agents_;
  std::unique_ptr<Loop::Timer> ramp_;
  bool stopping_ = false;
  std::size_t left_ = 0;
};

int print_simulation(const Flags& flags) {
  Scenario scenario;
  scenario.hosts = flags.agents;
  scenario.accepts_a_second = flags.accepts;
  scenario.outage = in_millis(flags.outage);
  scenario.spread = in_millis(flags.spread);
  const Figures figures = simulate(scenario);
  std::cout << json{{"agents", flags.agents},
                    {"missing", figures.missing},
                    {"tries", figures.tries},
                    {"refused", figures.refused},
                    {"tries_in_busiest_second", figures.peak},
                    {"gone", gone_json(figures.gone)}}
                   .dump()
            << std::endl;
  return EX_OK;
}

}  // namespace
}  // namespace hawser::fleet

int main(int argc, char** argv) {
  hawser::fleet::Flags flags;
  CLI::App app("A fleet of agents in one process, against a control plane", "hawser_fleet");
  app.add_option("--agents", flags.agents)->check(CLI::Range(1, 20'000))->capture_default_str();
  app.add_option("--target", flags.target, "as gRPC names it")->capture_default_str();
  app.add_option("--name", flags.server_name, "in the plane's certificate")->capture_default_str();
  app.add_option("--roots", flags.roots, "PEM file")->check(CLI::ExistingFile);
  app.add_option("--chain", flags.chain, "PEM file: the certificate that all of them show")->check(CLI::ExistingFile);
  app.add_option("--key", flags.key, "PEM file")->check(CLI::ExistingFile);
  app.add_option("--token", flags.token, "file: instead of a certificate")->check(CLI::ExistingFile);
  app.add_option("--first-address", flags.first_address, "the others count up from here")->capture_default_str();
  app.add_option("--group", flags.node.group, "WorkloadGroup to register with");
  app.add_option("--namespace", flags.node.ns);
  app.add_option("--service-account", flags.node.service_account);
  app.add_option("--network", flags.node.network);
  app.add_option("--mesh", flags.node.mesh_id);
  app.add_option("--cluster", flags.node.cluster_id);
  app.add_option("--readiness-probe", flags.node.readiness_probe, "JSON: the plane then waits for a health report");
  app.add_option("--spread", flags.spread, "control_plane.reconnect_spread, in seconds")->capture_default_str();
  app.add_option("--ramp", flags.ramp, "seconds over which the agents are started")->capture_default_str();
  app.add_option("--cap", flags.cap, "of the back-off, in seconds")->capture_default_str();
  app.add_option("--good-after", flags.good_after,
                 "seconds that a stream must have lived for the back-off to begin anew")
      ->capture_default_str();
  app.add_flag("--simulate", flags.simulate, "on a fake clock, without a network");
  app.add_option("--outage", flags.outage, "simulated, in seconds")->capture_default_str();
  app.add_option("--accepts", flags.accepts, "streams that the simulated plane takes a second")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (flags.simulate) return hawser::fleet::print_simulation(flags);

  flags.node.workload_name = flags.node.group.empty() ? "fleet" : flags.node.group;
  hawser::log::init("hawser_fleet", hawser::log::Level::kError, hawser::log::Format::kText);
  ::signal(SIGPIPE, SIG_IGN);
  mallopt(M_ARENA_MAX, 4);  // there are thousands of threads
  if (!hawser::fleet::room_for(flags.agents)) {
    std::fprintf(stderr, "hawser_fleet: too few descriptors for %zu agents (fix: raise ulimit -Hn)\n", flags.agents);
    return EX_OSERR;
  }
  return hawser::fleet::Fleet(flags).run();
}
