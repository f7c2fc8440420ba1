// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <csignal>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/fake_loop.h"
#include "proxy/config_feed.h"
#include "proxy/driver.h"
#include "proxy/generation_host.h"
#include "proxy/process_watch.h"

// What the supervisor meets in its unit tests: a host, a driver and a watcher that are told what to answer and remember
// what they were asked.
namespace hawser::proxy::fake {

inline Error down(const std::string& what = "no answer") {
  return {Code::kUnavailable, "HWS-BR-001", what, "start it"};
}

// Proxy processes, as a host would have them. Answers come from the loop, as the real host's do.
struct Host final : GenerationHost {
  explicit Host(Loop& l) : loop(l) {}

  void observe(Done<std::vector<HostedGeneration>> done) override {
    calls.emplace_back("observe");
    answer(std::move(done),
           broken ? Result<std::vector<HostedGeneration>>(down()) : Result<std::vector<HostedGeneration>>(generations));
  }
  void validate(const std::string& generation, const std::string& bootstrap, const std::vector<std::string>& /*args*/,
                const std::string& binary, Done<Validation> done) override {
    validated_binary = binary;
    calls.push_back("validate " + generation + " " + bootstrap);
    answer(std::move(done), validation);
  }
  void start(const std::string& generation, const std::string& bootstrap, const std::vector<std::string>& args,
             const std::string& binary, Done<StartedGeneration> done) override {
    started_binary = binary;
    calls.push_back("start " + generation + " " + bootstrap + " " + std::to_string(args.size()));
    if (!start_error.empty()) {
      Error error = start_error.front();
      start_error.pop_front();
      return answer(std::move(done), Result<StartedGeneration>(error));
    }
    std::erase_if(generations, [&](const auto& item) { return item.name == generation; });
    const std::string of = binary.empty() ? stored.current_sha256 : binary;
    generations.push_back({generation, ++last_pid, true, 0, of, {}});
    answer(std::move(done), Result<StartedGeneration>(StartedGeneration{last_pid, of}));
  }
  void signal(const std::string& generation, int number, std::function<void(Status)> done) override {
    calls.push_back("signal " + generation + " " + std::to_string(number));
    if (broken) return loop.post([done] { done(Status(down())); });
    if (number == SIGKILL ? kill_works : term_works) finish(number == SIGTERM ? 0 : number, generation);
    loop.post([done] { done(Status()); });
  }
  void reap(const std::string& generation, std::chrono::milliseconds wait, Done<ReapedGeneration> done) override {
    calls.push_back("reap " + generation);
    if (broken) return answer(std::move(done), Result<ReapedGeneration>(down()));
    const auto found = find(generation);
    if (found == generations.end())
      return answer(std::move(done), Result<ReapedGeneration>(Error(Code::kNotFound, "HWS-BR-022", "none")));
    const auto state = *found;
    if (!state.running) {
      generations.erase(found);
      return answer(std::move(done),
                    Result<ReapedGeneration>(ReapedGeneration{true, state.exit_status, out_of_memory}));
    }
    timers.push_back(loop.after(wait, [done = std::move(done)] { done(ReapedGeneration{false, -1}); }));
  }

  void repair(const std::string& generation, std::function<void(Status)> done) override {
    calls.push_back("repair " + generation);
    loop.post([done, result = repaired] { done(result); });
  }
  void binaries(Done<HostedBinaries> done) override { answer(std::move(done), Result<HostedBinaries>(stored)); }
  void mark(const std::string& sha256, BinaryMark mark, const std::string& reason,
            std::function<void(Status)> done) override {
    calls.push_back((mark == BinaryMark::kGood ? "good " : "quarantine ") + sha256 + " " + reason);
    if (marked && mark == BinaryMark::kGood) stored.last_good_sha256 = sha256;
    if (marked && mark == BinaryMark::kQuarantine && !stored.last_good_sha256.empty())
      stored.current_sha256 = stored.last_good_sha256;
    answer(std::move(done), marked);
  }

  // A process ends by itself, with a wait(2) status; without a name the one that was started last.
  void finish(int status, const std::string& generation = "") {
    if (generations.empty()) return;
    const auto found = generation.empty() ? std::prev(generations.end()) : find(generation);
    if (found == generations.end()) return;
    found->running = false;
    found->exit_status = status;
  }
  std::vector<HostedGeneration>::iterator find(const std::string& name) {
    return std::find_if(generations.begin(), generations.end(), [&](const auto& item) { return item.name == name; });
  }

  template <typename T>
  void answer(Done<T> done, Result<T> result) {
    loop.post([done = std::move(done), result = std::move(result)] { done(result); });
  }

  Loop& loop;
  bool out_of_memory = false;  // so they end
  std::vector<std::string> calls;
  std::vector<HostedGeneration> generations;
  Result<Validation> validation = Validation{true, "", "1.40.0"};
  std::deque<Error> start_error;
  Status repaired = Status(Error(Code::kFailedPrecondition, "HWS-BR-042", "not now", ""));
  std::string validated_binary;
  std::string started_binary;
  HostedBinaries stored{"5ha", ""};
  Status marked;
  bool broken = false;
  bool term_works = true;
  bool kill_works = true;
  pid_t last_pid = 100;
  std::vector<std::unique_ptr<Loop::Timer>> timers;
};

inline ProbeResult live_probe(std::vector<std::uint16_t> ports = {15001, 15006}) {
  ProbeResult out;
  out.state = ProxyState::kLive;
  out.version = "1.40.0";
  out.concurrency = 2;
  out.ready = true;
  for (const auto port : ports) out.listeners.push_back({"l" + std::to_string(port), "0.0.0.0", port, true});
  return out;
}

inline ProbeResult early_probe(ProxyState state) {
  ProbeResult out;
  out.state = state;
  return out;
}

// What the machines alone are told, where nobody gives the proxy its configuration.
inline Capabilities plain_capabilities() {
  Capabilities out;
  out.hot_restart = out.side_by_side = out.drain = out.connection_count = true;
  out.data_path_probe = out.stand_in = true;
  return out;
}

// Who gives the proxy its configuration. Answers come from the loop.
struct Feed final : ConfigFeed {
  explicit Feed(Loop& l) : loop(l) {}
  void snapshot(std::function<void(Result<Snapshot>)> done) override {
    ++asked;
    loop.post([done = std::move(done), result = seen] { done(result); });
  }
  void hold_listeners(const std::string& generation, std::chrono::milliseconds limit,
                      std::function<void(Status)> done) override {
    calls.push_back("hold " + generation + " " + std::to_string(limit.count()));
    loop.post([done = std::move(done), result = held] { done(result); });
  }
  void release_listeners(const std::string& generation) override { calls.push_back("release " + generation); }

  Loop& loop;
  Result<Snapshot> seen = Snapshot{};
  Status held;
  std::vector<std::string> calls;
  int asked = 0;
};

struct Driver : ProxyDriver {
  Capabilities capabilities() const override { return can; }
  std::vector<std::string> args(unsigned) const override { return {"--concurrency", "2"}; }
  // Answers at once: the supervisor must bear that too.
  void probe(const std::string& generation, Done<ProbeResult> done) override {
    probed.push_back(generation);
    const auto own = seen_of.find(generation);
    done(own == seen_of.end() ? seen : own->second);
  }
  void diagnose(const std::string&, std::function<void(std::string)> done) override {
    ++diagnoses;
    done(diagnosis);
  }
  void inspect(const std::string& generation, Done<Inspection> done) override {
    const auto own = inspected.find(generation);
    done(own == inspected.end() ? inspection : own->second);
  }
  void begin_drain(const std::string& generation, DrainKind kind, std::function<void(Status)> done) override {
    ++drains;
    drained.push_back(generation + (kind == DrainKind::kClosing ? "" : " accepting"));
    done(drain_result);
  }
  void count_connections(const std::string&, Done<std::uint64_t> done) override { done(connections); }
  void probe_data(const std::string&, std::function<void(Status)> done) override {
    ++data_probes;
    done(data_path);
  }
  void ask_worker(const std::string& generation, std::function<void(Status)> done) override {
    workers_asked.push_back(generation);
    done(worker);
  }
  void scrape(const std::string& generation, Done<std::string> done) override { done("scrape of " + generation); }
  void flush_mark(const std::string&, Done<std::uint64_t> done) override { done(down("not asked for")); }
  std::unique_ptr<StandIn> stand_in(const std::string& generation) override {
    stood_in.push_back(generation);
    return std::make_unique<StandIn>();
  }
  std::vector<Listener> listening(const std::vector<std::uint16_t>&) const override { return kernel; }

  // As most hand-overs of these tests are: not every listener can be shared.
  Result<Inspection> inspection = Inspection{"l15001 has enable_reuse_port: false", "11.104", 1, "", true};
  std::map<std::string, Result<Inspection>> inspected;  // where it differs
  std::vector<std::string> drained;
  Result<ProbeResult> seen = down("no socket");
  std::map<std::string, Result<ProbeResult>> seen_of;  // where it differs
  std::vector<Listener> kernel;
  std::string diagnosis;
  Status drain_result;
  Result<std::uint64_t> connections = std::uint64_t{0};
  std::vector<std::string> probed;
  int diagnoses = 0;
  int drains = 0;
  Capabilities can = plain_capabilities();
  Status worker;
  std::vector<std::string> workers_asked;
  Status data_path;
  std::vector<std::string> stood_in;
  int data_probes = 0;
};

struct Watcher final : ProcessWatcher {
  struct Held final : Watch {
    Held(Watcher& o, pid_t p) : owner(o), pid(p) {}
    ~Held() override { owner.watched.erase(pid); }
    Watcher& owner;
    pid_t pid;
  };
  std::unique_ptr<Watch> watch(pid_t pid, std::function<void()> ended) override {
    auto held = std::make_unique<Held>(*this, pid);
    watched[pid] = std::move(ended);
    return held;
  }
  void tell(pid_t pid) {
    const auto found = watched.find(pid);
    if (found == watched.end()) return;
    auto ended = found->second;
    ended();
  }
  std::map<pid_t, std::function<void()>> watched;
};

}  // namespace hawser::proxy::fake
