// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/systemd_bus.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "proxy/systemd_bus_impl.h"
#include "proxy/unit_messages.h"

namespace hawser::proxy {
namespace {

namespace asio = boost::asio;

constexpr int kBurst = 64;  // messages in a row before others on the loop get their turn
constexpr std::uint64_t kThousand = 1'000;
constexpr std::uint64_t kMillion = 1'000'000;
constexpr std::chrono::milliseconds kReconnectFirst{50};
constexpr std::chrono::milliseconds kReconnectMost{2'000};

std::string unit_at(const char* path) {
  char* unit = nullptr;
  if (path == nullptr || sd_bus_path_decode(path, kUnitPath, &unit) <= 0) return {};
  std::string out(unit);
  ::free(unit);  // NOLINT: sd-bus allocates with malloc
  return out;
}

std::uint64_t monotonic_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kMillion + static_cast<std::uint64_t>(now.tv_nsec) / kThousand;
}

}  // namespace

int RealBus::open_private() {
  sd_bus* bus = nullptr;
  int r = sd_bus_new(&bus);
  if (r < 0) return r;
  bus_.reset(bus);
  over_bus_ = false;
  r = sd_bus_set_address(bus, ("unix:path=" + options_.private_socket).c_str());
  if (r >= 0) r = sd_bus_set_bus_client(bus, 0);
  if (r >= 0) r = sd_bus_negotiate_fds(bus, 1);
  return r < 0 ? r : sd_bus_start(bus);
}

int RealBus::open_system() {
  sd_bus* bus = nullptr;
  const int r = sd_bus_open_system(&bus);
  if (r < 0) return r;
  bus_.reset(bus);
  over_bus_ = true;
  return r;
}

int RealBus::add_matches() {
  // On the message bus anyone may send a signal; there the sender is checked.
  const char* sender = over_bus_ ? kSystemdName : nullptr;
  sd_bus* bus = bus_.get();
  int r = sd_bus_match_signal_async(bus, nullptr, sender, nullptr, kPropertiesInterface, "PropertiesChanged",
                                    &on_changed, nullptr, this);
  const auto manager = [&](const char* member, sd_bus_message_handler_t handler) {
    if (r >= 0)
      r = sd_bus_match_signal_async(bus, nullptr, sender, kManagerPath, kManagerInterface, member, handler, nullptr,
                                    this);
  };
  manager("UnitRemoved", &on_removed);
  manager("JobRemoved", &on_job);
  manager("Reloading", &on_reloading);
  if (r >= 0 && over_bus_)
    r = sd_bus_add_match_async(bus, nullptr,
                               "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                               "member='NameOwnerChanged',arg0='org.freedesktop.systemd1'",
                               &on_owner, nullptr, this);
  return r;
}

void RealBus::connect() {
  if (bus_) return;
  reconnect_.reset();
  int r = private_failed_ ? -ECONNREFUSED : open_private();
  if (r < 0) {
    bus_.reset();
    r = open_system();
  }
  private_failed_ = false;
  if (r >= 0) r = add_matches();
  if (r < 0) {
    bus_.reset();
    return retry_later();
  }
  boost::system::error_code error;
  socket_.assign(sd_bus_get_fd(bus_.get()), error);
  if (error) {
    bus_.reset();
    return retry_later();
  }
  greet();
  schedule_pump();
}

// Subscribes, and asks when this boot began. The answer proves that the connection works.
void RealBus::greet() {
  auto subscribe = manager_call("Subscribe");
  sd_bus_message* raw = nullptr;
  const int r =
      sd_bus_message_new_method_call(bus_.get(), &raw, kSystemdName, kManagerPath, kPropertiesInterface, "Get");
  MessagePtr ask(raw);
  if (!subscribe || r < 0 || sd_bus_message_append(raw, "ss", kManagerInterface, "UserspaceTimestamp") < 0) {
    drop_ = true;
    return;
  }
  send(std::move(subscribe), [](sd_bus_message*, const sd_bus_error*) {});
  send(std::move(ask), [this](sd_bus_message* reply, const sd_bus_error*) {
    std::uint64_t stamp = 0;
    if (reply == nullptr || sd_bus_message_read(reply, "v", "t", &stamp) < 0) {
      private_failed_ = !over_bus_;
      drop_ = true;
      return;
    }
    boot_ = "systemd-" + std::to_string(stamp);
    pause_ = kReconnectFirst;
    ready_ = true;
    log::debug("connected to systemd", {{"over", over_bus_ ? "the system bus" : "its private socket"}});
    if (events_ != nullptr) events_->connected();
  });
}

void RealBus::close() {
  if (socket_.is_open()) socket_.release();
  waits_read_ = waits_write_ = false;
  timeout_.reset();
  for (auto& [number, call] : calls_) sd_bus_slot_unref(call->slot);
  bus_.reset();
}

void RealBus::lost(const std::string& why) {
  const bool was_ready = std::exchange(ready_, false);
  drop_ = false;
  close();
  auto calls = std::move(calls_);
  calls_.clear();
  sd_bus_error error = SD_BUS_ERROR_MAKE_CONST(SD_BUS_ERROR_DISCONNECTED, "the connection was lost");
  for (auto& [number, call] : calls) call->reply(nullptr, &error);
  if (was_ready) {
    log::info("the connection to systemd was lost", {{"reason", why}});
    if (events_ != nullptr) events_->disconnected();
  }
  retry_later();
}

void RealBus::retry_later() {
  reconnect_ = loop_.after(pause_, [this] { connect(); });
  pause_ = std::min(pause_ * 2, kReconnectMost);
}

void RealBus::schedule_pump() {
  if (std::exchange(pump_scheduled_, true)) return;
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    pump_scheduled_ = false;
    pump();
  });
}

void RealBus::pump() {
  if (!bus_ || in_pump_) return;
  in_pump_ = true;
  int r = 1;
  for (int i = 0; i < kBurst && r > 0 && !drop_; ++i) r = sd_bus_process(bus_.get(), nullptr);
  in_pump_ = false;
  if (r < 0 || drop_) return lost(r < 0 ? std::strerror(-r) : "systemd was re-executed");
  if (r > 0) return schedule_pump();
  arm();
}

// Waits for what sd-bus waits for.
void RealBus::arm() {
  const int events = sd_bus_get_events(bus_.get());
  if (events < 0) return lost(std::strerror(-events));
  const auto wait = [this](bool& waits, auto kind) {
    if (std::exchange(waits, true)) return;
    socket_.async_wait(kind, [this, &waits, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
      if (error || alive.expired()) return;
      waits = false;
      pump();
    });
  };
  if ((events & POLLIN) != 0) wait(waits_read_, asio::posix::stream_descriptor::wait_read);
  if ((events & POLLOUT) != 0) wait(waits_write_, asio::posix::stream_descriptor::wait_write);
  std::uint64_t at = 0;
  timeout_.reset();
  if (sd_bus_get_timeout(bus_.get(), &at) < 0 || at == UINT64_MAX) return;
  const std::uint64_t now = monotonic_us();
  timeout_ = loop_.after(std::chrono::microseconds(at > now ? at - now : 0), [this] { pump(); });
}

bool RealBus::run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (!bus_) connect();
    if (!bus_) {
      ::usleep(static_cast<useconds_t>(std::min<std::int64_t>(left.count(), 50'000)));
      continue;
    }
    int r = drop_ ? -ECONNRESET : sd_bus_process(bus_.get(), nullptr);
    if (r == 0 && !drop_) r = sd_bus_wait(bus_.get(), static_cast<std::uint64_t>(left.count()));
    if (r == -EINTR) continue;
    if (r < 0 || drop_) lost(r < 0 ? std::strerror(-r) : "systemd was re-executed");
  }
  schedule_pump();
  return true;
}

MessagePtr RealBus::manager_call(const char* method) {
  sd_bus_message* message = nullptr;
  if (!bus_ ||
      sd_bus_message_new_method_call(bus_.get(), &message, kSystemdName, kManagerPath, kManagerInterface, method) < 0)
    return nullptr;
  return MessagePtr(message);
}

void RealBus::send(MessagePtr message, Reply reply) {
  auto call = std::make_unique<Call>();
  call->bus = this;
  call->number = next_call_++;
  call->reply = std::move(reply);
  const auto timeout = static_cast<std::uint64_t>(std::chrono::microseconds(options_.call_timeout).count());
  const int r = sd_bus_call_async(bus_.get(), &call->slot, message.get(), &on_reply, call.get(), timeout);
  if (r < 0) {
    // Later, since callers don't expect their answer before the call returns.
    loop_.post([failed = std::move(call->reply), text = std::string(std::strerror(-r))] {
      const sd_bus_error late = SD_BUS_ERROR_MAKE_CONST(SD_BUS_ERROR_FAILED, text.c_str());
      failed(nullptr, &late);
    });
    return;
  }
  calls_[call->number] = std::move(call);
  schedule_pump();
}

int RealBus::on_reply(sd_bus_message* message, void* data, sd_bus_error* /*error*/) {
  auto* waiting = static_cast<Call*>(data);
  RealBus& bus = *waiting->bus;
  const auto at = bus.calls_.find(waiting->number);
  if (at == bus.calls_.end()) return 0;
  const auto call = std::move(at->second);
  bus.calls_.erase(at);
  const sd_bus_error* failure = sd_bus_message_get_error(message);
  call->reply(failure != nullptr ? nullptr : message, failure);
  sd_bus_slot_unref(call->slot);
  return 0;
}

int RealBus::on_changed(sd_bus_message* message, void* data, sd_bus_error* /*error*/) {
  auto& bus = *static_cast<RealBus*>(data);
  const std::string unit = unit_at(sd_bus_message_get_path(message));
  // On the private socket every unit's changes come.
  if (bus.events_ == nullptr || !unit.starts_with("hawser-proxy-")) return 0;
  UnitState change;
  if (sd_bus_message_skip(message, "s") >= 0 && read_unit_state(message, change) >= 0)
    bus.events_->changed(unit, change);
  return 0;
}

int RealBus::on_removed(sd_bus_message* message, void* data, sd_bus_error* /*error*/) {
  auto& bus = *static_cast<RealBus*>(data);
  const char* unit = nullptr;
  if (bus.events_ != nullptr && sd_bus_message_read(message, "s", &unit) >= 0) bus.events_->removed(unit);
  return 0;
}

int RealBus::on_job(sd_bus_message* message, void* data, sd_bus_error* /*error*/) {
  auto& bus = *static_cast<RealBus*>(data);
  std::uint32_t number = 0;
  const char* path = nullptr;
  const char* unit = nullptr;
  const char* result = nullptr;
  if (bus.events_ != nullptr && sd_bus_message_read(message, "uoss", &number, &path, &unit, &result) >= 0)
    bus.events_->job_removed(unit, result);
  return 0;
}

int RealBus::on_reloading(sd_bus_message* message, void* data, sd_bus_error* /*error*/) {
  auto& bus = *static_cast<RealBus*>(data);
  int begins = 0;
  if (sd_bus_message_read(message, "b", &begins) >= 0 && begins == 0 && bus.ready_ && bus.events_ != nullptr)
    bus.events_->reloaded();
  return 0;
}

int RealBus::on_owner(sd_bus_message* /*message*/, void* data, sd_bus_error* /*error*/) {
  // Our subscription went with the old connection of the manager; begin anew, once we are out of sd-bus.
  static_cast<RealBus*>(data)->drop_ = true;
  return 0;
}

std::unique_ptr<SystemdBus> connect_systemd(AsioLoop& loop, SystemdBusOptions options) {
  auto bus = std::make_unique<RealBus>(loop, std::move(options));
  bus->connect();
  return bus;
}

}  // namespace hawser::proxy
