// SPDX-License-Identifier: Apache-2.0
#include "dial/dialler.h"

#include <algorithm>
#include <utility>

#include "base/asio_loop.h"
#include "base/log.h"
#include "dial/look_up.h"

namespace hawser::dial {
namespace {

constexpr std::chrono::milliseconds kLeastProbePause{500};
constexpr std::chrono::milliseconds kMostProbePause{15'000};

}  // namespace

struct Dialler::Impl : std::enable_shared_from_this<Impl> {
  Loop& loop;
  Options options;
  Ways ways;
  Selection selection;
  std::vector<std::function<void(Result<Route>)>> waiting;
  std::function<void(const std::string&)> better;
  std::uint64_t turn = 0;
  std::size_t looking = 0;
  std::optional<Error> unknown;  // why a name couldn't be looked up
  bool probing = false;
  std::unique_ptr<Loop::Timer> look_timer;
  std::unique_ptr<Loop::Timer> probe_timer;

  Impl(Loop& l, Options o, Ways w)
      : loop(l),
        options(std::move(o)),
        ways(std::move(w)),
        selection(options.addresses, options.proxy, options.policy) {}

  void next(std::function<void(Result<Route>)> call) {
    waiting.push_back(std::move(call));
    if (waiting.size() > 1) return;
    ++turn;
    unknown.reset();
    const auto names = selection.names_due(loop.now());
    looking = names.size();
    if (names.empty()) return choose();
    look_timer = loop.after(options.look_up_timeout, [this] {
      unknown =
          Error(Code::kDeadlineExceeded, "HWS-DL-002", "the name service doesn't answer",
                "set control_plane.dial or control_plane.addresses to addresses, or mend the host's name service");
      choose();
    });
    for (const auto& name : names) look_up(name);
  }

  void look_up(const std::string& name) {
    ways.look_up(name, [weak = weak_from_this(), name, id = turn](Result<std::vector<std::string>> found) {
      const auto self = weak.lock();
      if (!self) return;
      // A late answer is one all the same.
      self->selection.looked_up(name, found ? *found : std::vector<std::string>(), self->loop.now());
      if (id != self->turn || !self->look_timer) return;
      if (!found) self->unknown = self->explain_unknown(name, found.error());
      if (--self->looking == 0) self->choose();
    });
  }

  Error explain_unknown(const std::string& name, const Error& error) const {
    if (!options.proxy || options.proxy->host != name) return error;
    return Error(Code::kUnavailable, "HWS-DL-003", "the HTTP proxy's name '" + name + "' can't be looked up",
                 "check control_plane.http_proxy and the host's name service")
        .because(error);
  }

  void choose() {
    look_timer.reset();
    const auto routes = selection.candidates();
    if (routes.empty()) {
      const Error error = unknown ? *unknown
                                  : Error(Code::kFailedPrecondition, "HWS-DL-001", options.who + " has no address",
                                          "set control_plane.address");
      selection.group_failed();
      return finish(error);
    }
    // Alone, it is dialled at once: a connection less for the server, and what is wrong shows there as well.
    if (routes.size() == 1 || !ways.race) return finish(routes.front());
    ways.race(routes, [weak = weak_from_this(), routes, id = turn](Race::Result result) {
      const auto self = weak.lock();
      if (self && id == self->turn) self->decide(routes, result);
    });
  }

  void decide(const std::vector<Route>& routes, const Race::Result& result) {
    if (result.winner < routes.size()) return finish(routes[result.winner]);
    const bool by_proxy =
        std::all_of(routes.begin(), routes.end(), [](const Route& r) { return !r.connect_to.empty(); });
    std::string causes;
    for (std::size_t i = 0; i < routes.size(); ++i)
      causes += (i == 0 ? "" : "; ") + routes[i].address + ": " + result.causes[i];
    const unsigned before = selection.priority();
    selection.group_failed();
    note_change(before, causes);
    if (by_proxy)
      return finish(Error(Code::kUnavailable, "HWS-DL-004", "the HTTP proxy can't be reached (" + causes + ")",
                          "check control_plane.http_proxy, the proxy and the firewalls on the way to it"));
    finish(Error(Code::kUnavailable, "HWS-DL-001", options.who + " can't be reached (" + causes + ")",
                 "check the address, the route and the firewall between the host and the control plane"));
  }

  void finish(Result<Route> result) {
    ++turn;
    for (const auto& call : std::exchange(waiting, {})) call(result);
  }

  void note_change(unsigned before, const std::string& cause) const {
    if (selection.priority() == before) return;
    log::warn(options.who + ": going over to other addresses", {{"addresses", selection.describe()}, {"cause", cause}});
  }

  void tried(const Route& route, const std::optional<Error>& error) {
    if (error) {
      const unsigned before = selection.priority();
      selection.failed(route);
      return note_change(before, error->to_string());
    }
    selection.well(route);
    if (!probe_timer && !probing) wait_for_better();
  }

  void wait_for_better() {
    if (!ways.probe || !selection.to_probe()) return;
    const auto pause = std::clamp(std::chrono::duration_cast<std::chrono::milliseconds>(options.policy.fail_back / 4),
                                  kLeastProbePause, kMostProbePause);
    probe_timer = loop.after(pause, [this] {
      probe_timer.reset();
      refresh_then_probe();
    });
  }

  // A better group's name may lead elsewhere by now.
  void refresh_then_probe() {
    const auto names = selection.names_due(loop.now());
    for (const auto& name : names) {
      ways.look_up(name, [weak = weak_from_this(), name](Result<std::vector<std::string>> found) {
        if (const auto self = weak.lock())
          self->selection.looked_up(name, found ? *found : std::vector<std::string>(), self->loop.now());
      });
    }
    const auto route = selection.to_probe();
    if (!route) return;
    probing = true;
    ways.probe(*route, [weak = weak_from_this(), text = route->text()](bool well) {
      const auto self = weak.lock();
      if (!self) return;
      self->probing = false;
      if (self->selection.probed(well, self->loop.now()) && self->better)
        self->better("a better address is well again: " + text);
      self->wait_for_better();
    });
  }
};

Dialler::Dialler(Loop& loop, Options options, Ways ways)
    : impl_(std::make_shared<Impl>(loop, std::move(options), std::move(ways))) {}

Dialler::~Dialler() {
  impl_->waiting.clear();
  impl_->look_timer.reset();
  impl_->probe_timer.reset();
}

void Dialler::next(std::function<void(Result<Route>)> done) {
  impl_->next(std::move(done));
}

void Dialler::tried(const Route& route, const std::optional<Error>& error) {
  impl_->tried(route, error);
}

std::size_t Dialler::addresses() const {
  return impl_->options.addresses.size();
}

void Dialler::start_over() {
  impl_->selection.start_over();
}

void Dialler::on_better(std::function<void(const std::string& reason)> call) {
  impl_->better = std::move(call);
}

Dialler::Ways real_ways(AsioLoop& loop, SlowWorker& slow,
                        std::function<void(const Route& route, std::function<void(bool well)> done)> probe) {
  Dialler::Ways ways;
  ways.look_up = [&loop, &slow](const std::string& name, Dialler::Ways::Found found) {
    slow.submit(
        [&loop, name, found = std::move(found)] { loop.post([found, result = look_up(name)] { found(result); }); });
  };
  const auto running = std::make_shared<std::unique_ptr<Race>>();
  ways.race = [&loop, running](const std::vector<Route>& routes, std::function<void(Race::Result)> done) {
    std::vector<std::string> addresses;
    for (const auto& route : routes) addresses.push_back(route.address);
    *running = std::make_unique<Race>(loop.context(), std::move(addresses), Race::Pace{}, std::move(done));
  };
  ways.probe = std::move(probe);
  return ways;
}

}  // namespace hawser::dial
