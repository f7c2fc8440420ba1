// SPDX-License-Identifier: Apache-2.0
// What a fleet asks of its CA over a day: hosts with hawserd's own rotation, on one clock that the program moves. All
// of them start in the same moment. Prints JSON; see certs.py.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/fake_loop.h"
#include "certs/rotation.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;

struct Counts {
  Loop::Monotonic start;
  std::vector<int> by_minute;
  bool away = false;  // the CA answers nobody
};

class CountingCa final : public CaClient {
 public:
  CountingCa(Loop& loop, test::TestCa& ca, Counts& counts) : loop_(loop), ca_(ca), counts_(counts) {}
  Traits traits() const override { return {}; }
  void sign(Request request, Done done) override {
    const auto minute = static_cast<std::size_t>((loop_.now() - counts_.start) / 1min);
    if (minute < counts_.by_minute.size()) ++counts_.by_minute[minute];
    loop_.post([this, csr = request.csr_pem, done = std::move(done), ttl = request.ttl] {
      if (counts_.away) return done(Error(Code::kUnavailable, "HWS-CA-003", "away", "wait"));
      const test::Validity validity{loop_.wall() - 2min, loop_.wall() + ttl};
      done(Answer{ca_.sign_csr(csr, test::kSpiffe, validity) + ca_.intermediate_pem(), ca_.root_pem()});
    });
  }
  void cancel() override {}

 private:
  Loop& loop_;
  test::TestCa& ca_;
  Counts& counts_;
};

class Tokens final : public TokenSource {
 public:
  Traits traits() const override { return {"file", false, 0}; }
  Result<Token> attest(const Challenge&) override {
    Token token;
    token.text = Secret("jwt");
    return token;
  }
};

class NoHealth final : public HealthSink {
 public:
  void report(const std::string&, HealthState, const std::string&, const Error*) override {}
};

struct Agent {
  std::unique_ptr<CountingCa> ca;
  Metrics metrics;
  std::unique_ptr<Rotation> rotation;
};

class Fleet {
 public:
  Fleet(int agents, double spread) : spread_(spread) {
    counts.start = loop_.now();
    counts.by_minute.assign(26 * 60, 0);
    for (int i = 0; i < agents; ++i) agents_.push_back(std::make_unique<Agent>());
  }

  // Makes every agent anew, as a restart of the whole fleet does.
  void start() {
    for (std::size_t i = 0; i < agents_.size(); ++i) {
      Agent& agent = *agents_[i];
      agent.rotation.reset();
      agent.ca = std::make_unique<CountingCa>(loop_, ca_, counts);
      const std::string folder = state_.at(std::to_string(i));
      std::filesystem::create_directories(folder);
      auto store = KeyStore::open(folder);
      if (!store) std::abort();
      Rotation::Options options;
      options.request.expected.spiffe_id = test::kSpiffe;
      options.policy.spread = spread_;
      options.seed = ++seed_;
      agent.rotation = std::make_unique<Rotation>(loop_, worker_, *store, *agent.ca, std::make_shared<Tokens>(),
                                                  options, health_, agent.metrics);
      agent.rotation->start([] {});
      loop_.run_ready();
    }
  }
  void count_from_now() {
    counts.start = loop_.now();
    counts.by_minute.assign(counts.by_minute.size(), 0);
  }
  void advance(Loop::Duration by) { loop_.advance(by); }

  Counts counts;

 private:
  double spread_;
  FakeLoop loop_;
  InlineWorker worker_;
  NoHealth health_;
  test::TestCa ca_{"fleet"};
  test::TempFolder state_;
  std::vector<std::unique_ptr<Agent>> agents_;
  std::uint64_t seed_ = 0;
};

nlohmann::json run(int agents, double spread, const std::string& scene) {
  Fleet fleet(agents, spread);
  fleet.start();
  if (scene == "outage") {
    // The CA is away for the hours in which the first renewals are due.
    fleet.advance(1h);
    fleet.counts.away = true;
    fleet.advance(12h);
    fleet.counts.away = false;
    fleet.count_from_now();
    fleet.advance(24h);
  } else if (scene == "restart") {
    fleet.advance(6h);
    fleet.start();
    fleet.advance(18h);
  } else {
    fleet.advance(24h);
  }
  return fleet.counts.by_minute;
}

}  // namespace
}  // namespace hawser::certs

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::cout << hawser::certs::run(std::atoi(argv[1]), std::atof(argv[2]), argv[3]).dump() << "\n";
  return 0;
}
