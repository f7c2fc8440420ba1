// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <systemd/sd-bus.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <map>
#include <memory>
#include <string>

#include "proxy/systemd_bus.h"

// Inside of systemd_bus.cpp (the connection) and systemd_calls.cpp (what is said on it).
namespace hawser::proxy {

constexpr const char* kSystemdName = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManagerInterface = "org.freedesktop.systemd1.Manager";
constexpr const char* kUnitPath = "/org/freedesktop/systemd1/unit";
constexpr const char* kPropertiesInterface = "org.freedesktop.DBus.Properties";

struct BusClose {
  void operator()(sd_bus* bus) const { sd_bus_close_unref(bus); }
};
struct MessageUnref {
  void operator()(sd_bus_message* message) const { sd_bus_message_unref(message); }
};
using BusPtr = std::unique_ptr<sd_bus, BusClose>;
using MessagePtr = std::unique_ptr<sd_bus_message, MessageUnref>;

class RealBus final : public SystemdBus {
 public:
  RealBus(AsioLoop& loop, SystemdBusOptions options)
      : loop_(loop), options_(std::move(options)), socket_(loop.context()) {}
  ~RealBus() override { close(); }

  void set_events(Events* events) override { events_ = events; }
  bool connected() const override { return ready_; }
  std::string boot() const override { return boot_; }

  void start(const std::string& unit, UnitProperties properties, Answer<void> done) override {
    constexpr int kMaxRetries = 12;  // properties that an old systemd doesn't know
    start_again(unit, std::move(properties), std::move(done), kMaxRetries);
  }
  void kill(const std::string& unit, int signal, Answer<void> done) override;
  void reset_failed(const std::string& unit, Answer<void> done) override;
  void list(const std::string& pattern, Answer<std::vector<std::string>> done) override;
  void get(const std::string& unit, Answer<UnitState> done) override;
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) override;

  void connect();

 private:
  // The reply, or null and why there is none.
  using Reply = std::function<void(sd_bus_message*, const sd_bus_error*)>;
  struct Call {
    RealBus* bus = nullptr;
    std::uint64_t number = 0;
    Reply reply;
    sd_bus_slot* slot = nullptr;
  };

  MessagePtr manager_call(const char* method);
  void send(MessagePtr message, Reply reply);
  void start_again(const std::string& unit, UnitProperties properties, Answer<void> done, int retries);
  int open_private();
  int open_system();
  int add_matches();
  void greet();
  void lost(const std::string& why);
  void close();
  void pump();
  void arm();
  void schedule_pump();
  void retry_later();

  static int on_reply(sd_bus_message* message, void* data, sd_bus_error* error);
  static int on_changed(sd_bus_message* message, void* data, sd_bus_error* error);
  static int on_removed(sd_bus_message* message, void* data, sd_bus_error* error);
  static int on_job(sd_bus_message* message, void* data, sd_bus_error* error);
  static int on_reloading(sd_bus_message* message, void* data, sd_bus_error* error);
  static int on_owner(sd_bus_message* message, void* data, sd_bus_error* error);

  AsioLoop& loop_;
  SystemdBusOptions options_;
  Events* events_ = nullptr;
  BusPtr bus_;
  boost::asio::posix::stream_descriptor socket_;  // borrows the bus's descriptor
  std::map<std::uint64_t, std::unique_ptr<Call>> calls_;
  std::uint64_t next_call_ = 1;
  std::unique_ptr<Loop::Timer> timeout_;
  std::unique_ptr<Loop::Timer> reconnect_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::chrono::milliseconds pause_ = std::chrono::milliseconds(50);
  std::string boot_;
  bool over_bus_ = false;  // the message bus rather than the private socket
  bool private_failed_ = false;
  bool ready_ = false;
  bool drop_ = false;
  bool in_pump_ = false;
  bool pump_scheduled_ = false;
  bool waits_read_ = false;
  bool waits_write_ = false;
};

}  // namespace hawser::proxy
