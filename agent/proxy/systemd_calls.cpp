// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include <cstdlib>

#include "base/log.h"
#include "proxy/systemd_bus_impl.h"
#include "proxy/unit_messages.h"

namespace hawser::proxy {
namespace {

constexpr const char* kUnitExists = "org.freedesktop.systemd1.UnitExists";
constexpr const char* kNoSuchUnit = "org.freedesktop.systemd1.NoSuchUnit";
constexpr std::size_t kMaxUnits = 64;

Error no_connection(const std::string& why) {
  return {Code::kUnavailable, "HWS-BR-040", "systemd can't be reached: " + why,
          "is this host run by systemd? see `systemctl status`; without it: --launcher=direct"};
}

Error refused(const std::string& what, const sd_bus_error* error) {
  const std::string name = error->name != nullptr ? error->name : "";
  const std::string text = error->message != nullptr ? error->message : name;
  Code code = Code::kInternal;
  if (name == kUnitExists) code = Code::kAlreadyExists;
  if (name == kNoSuchUnit) code = Code::kNotFound;
  if (name == SD_BUS_ERROR_NO_REPLY || name == SD_BUS_ERROR_TIMEOUT) code = Code::kDeadlineExceeded;
  if (name == SD_BUS_ERROR_ACCESS_DENIED) code = Code::kPermissionDenied;
  // So sd-bus answers what was under way when the other side closed.
  const bool cut = name == SD_BUS_ERROR_NO_REPLY && text == "Connection terminated";
  if (cut || name == SD_BUS_ERROR_DISCONNECTED) code = Code::kUnavailable;
  return {code, "HWS-BR-041", "systemd refused to " + what + ": " + text, "see the journal of the host"};
}

}  // namespace

void RealBus::start_again(const std::string& unit, UnitProperties properties, Answer<void> done, int retries) {
  auto message = manager_call("StartTransientUnit");
  if (!message || !ready_) return done(no_connection("not connected"));
  int r = sd_bus_message_append(message.get(), "ss", unit.c_str(), "fail");
  if (r >= 0) r = append_properties(message.get(), properties);
  if (r >= 0) r = sd_bus_message_append(message.get(), "a(sa(sv))", 0);
  if (r < 0) return done(errno_error(-r, "HWS-BR-041", "can't ask systemd to start " + unit));
  send(std::move(message), [this, unit, properties = std::move(properties), done = std::move(done), retries](
                               sd_bus_message* reply, const sd_bus_error* error) mutable {
    if (reply != nullptr) return done(Status());
    const std::string text = error->message != nullptr ? error->message : "";
    if (const std::string dropped = drop_unknown(properties, text); retries > 0 && !dropped.empty()) {
      log::debug("this systemd doesn't know a property of the proxy's sandbox", {{"property", dropped}});
      return start_again(unit, std::move(properties), std::move(done), retries - 1);
    }
    done(refused("start " + unit, error));
  });
}

void RealBus::kill(const std::string& unit, int signal, Answer<void> done) {
  auto message = manager_call("KillUnit");
  if (!message || !ready_) return done(no_connection("not connected"));
  if (const int r = sd_bus_message_append(message.get(), "ssi", unit.c_str(), "main", signal); r < 0)
    return done(errno_error(-r, "HWS-BR-041", "can't ask systemd to signal " + unit));
  send(std::move(message), [unit, done = std::move(done)](sd_bus_message* reply, const sd_bus_error* error) {
    done(reply != nullptr ? Status() : Status(refused("signal " + unit, error)));
  });
}

void RealBus::reset_failed(const std::string& unit, Answer<void> done) {
  auto message = manager_call("ResetFailedUnit");
  if (!message || !ready_) return done(no_connection("not connected"));
  if (const int r = sd_bus_message_append(message.get(), "s", unit.c_str()); r < 0)
    return done(errno_error(-r, "HWS-BR-041", "can't ask systemd to forget " + unit));
  send(std::move(message), [unit, done = std::move(done)](sd_bus_message* reply, const sd_bus_error* error) {
    if (reply != nullptr) return done(Status());
    Error failure = refused("forget " + unit, error);
    done(failure.code() == Code::kNotFound ? Status() : Status(std::move(failure)));
  });
}

void RealBus::list(const std::string& pattern, Answer<std::vector<std::string>> done) {
  auto message = manager_call("ListUnitsByPatterns");
  if (!message || !ready_) return done(no_connection("not connected"));
  if (const int r = sd_bus_message_append(message.get(), "asas", 0, 1, pattern.c_str()); r < 0)
    return done(errno_error(-r, "HWS-BR-041", "can't ask systemd for its units"));
  send(std::move(message), [done = std::move(done)](sd_bus_message* reply, const sd_bus_error* error) {
    if (reply == nullptr) return done(refused("list its units", error));
    std::vector<std::string> out;
    int r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
    while (r >= 0 && out.size() < kMaxUnits && (r = sd_bus_message_enter_container(reply, 'r', "ssssssouso")) > 0) {
      const char* unit = nullptr;
      r = sd_bus_message_read(reply, "s", &unit);
      if (r >= 0) out.emplace_back(unit);
      if (r >= 0) r = sd_bus_message_skip(reply, "sssssouso");
      if (r >= 0) r = sd_bus_message_exit_container(reply);
    }
    if (r < 0) return done(errno_error(-r, "HWS-BR-041", "can't read systemd's list of units"));
    done(std::move(out));
  });
}

void RealBus::get(const std::string& unit, Answer<UnitState> done) {
  char* path = nullptr;
  sd_bus_message* raw = nullptr;
  if (!bus_ || !ready_) return done(no_connection("not connected"));
  int r = sd_bus_path_encode(kUnitPath, unit.c_str(), &path);
  if (r >= 0) r = sd_bus_message_new_method_call(bus_.get(), &raw, kSystemdName, path, kPropertiesInterface, "GetAll");
  ::free(path);  // NOLINT: sd-bus allocates with malloc
  MessagePtr message(raw);
  // An empty name asks for the properties of all interfaces.
  if (r >= 0) r = sd_bus_message_append(raw, "s", "");
  if (r < 0) return done(errno_error(-r, "HWS-BR-041", "can't ask systemd for " + unit));
  send(std::move(message), [unit, done = std::move(done)](sd_bus_message* reply, const sd_bus_error* error) {
    if (reply == nullptr) return done(refused("tell the state of " + unit, error));
    UnitState out;
    if (const int failed = read_unit_state(reply, out); failed < 0)
      return done(errno_error(-failed, "HWS-BR-041", "can't read systemd's answer on " + unit));
    done(std::move(out));
  });
}

}  // namespace hawser::proxy
