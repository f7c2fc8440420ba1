// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/unit_messages.h"

#include <systemd/sd-bus.h>

#include <cerrno>
#include <functional>
#include <map>
#include <string_view>

namespace hawser::proxy {
namespace {

constexpr std::uint64_t kPerSecond = 1'000'000;

int append_strings(sd_bus_message* message, const std::vector<std::string>& texts) {
  int r = sd_bus_message_open_container(message, 'a', "s");
  for (auto at = texts.begin(); r >= 0 && at != texts.end(); ++at)
    r = sd_bus_message_append_basic(message, 's', at->c_str());
  return r < 0 ? r : sd_bus_message_close_container(message);
}

// Appends one value as a variant.
struct Append {
  sd_bus_message* message;

  int operator()(bool value) const { return sd_bus_message_append(message, "v", "b", static_cast<int>(value)); }
  int operator()(std::uint32_t value) const { return sd_bus_message_append(message, "v", "u", value); }
  int operator()(std::int32_t value) const { return sd_bus_message_append(message, "v", "i", value); }
  int operator()(std::uint64_t value) const { return sd_bus_message_append(message, "v", "t", value); }
  int operator()(const std::string& value) const { return sd_bus_message_append(message, "v", "s", value.c_str()); }
  int operator()(const UnitDescriptor& value) const { return sd_bus_message_append(message, "v", "h", value.fd); }
  int operator()(const std::vector<std::string>& value) const {
    return within("as", [&] { return append_strings(message, value); });
  }
  int operator()(const UnitFilter& value) const {
    return within("(bas)", [&] {
      int r = sd_bus_message_open_container(message, 'r', "bas");
      if (r >= 0) r = sd_bus_message_append(message, "b", static_cast<int>(value.allow));
      if (r >= 0) r = append_strings(message, value.names);
      return r < 0 ? r : sd_bus_message_close_container(message);
    });
  }
  int operator()(const UnitFields& value) const {
    return within("aay", [&] {
      int r = sd_bus_message_open_container(message, 'a', "ay");
      for (auto at = value.fields.begin(); r >= 0 && at != value.fields.end(); ++at)
        r = sd_bus_message_append_array(message, 'y', at->data(), at->size());
      return r < 0 ? r : sd_bus_message_close_container(message);
    });
  }
  int operator()(const UnitCommand& value) const {
    return within("a(sasb)", [&] {
      int r = sd_bus_message_open_container(message, 'a', "(sasb)");
      if (r >= 0) r = sd_bus_message_open_container(message, 'r', "sasb");
      if (r >= 0) r = sd_bus_message_append(message, "s", value.path.c_str());
      if (r >= 0) r = append_strings(message, value.argv);
      if (r >= 0) r = sd_bus_message_append(message, "b", static_cast<int>(value.may_fail));
      if (r >= 0) r = sd_bus_message_close_container(message);
      return r < 0 ? r : sd_bus_message_close_container(message);
    });
  }

  template <typename Fill>
  int within(const char* type, const Fill& fill) const {
    int r = sd_bus_message_open_container(message, 'v', type);
    if (r >= 0) r = fill();
    return r < 0 ? r : sd_bus_message_close_container(message);
  }
};

int read_text(sd_bus_message* message, std::optional<std::string>& out) {
  const char* text = nullptr;
  const int r = sd_bus_message_read(message, "v", "s", &text);
  if (r >= 0) out = text;
  return r;
}

template <typename T>
int read_number(sd_bus_message* message, const char* type, std::optional<T>& out) {
  T value{};
  const int r = sd_bus_message_read(message, "v", type, &value);
  if (r >= 0) out = value;
  return r;
}

int read_seconds(sd_bus_message* message, std::optional<std::uint64_t>& out) {
  const int r = read_number(message, "t", out);
  if (r >= 0 && out) *out /= kPerSecond;
  return r;
}

int read_invocation(sd_bus_message* message, std::optional<std::string>& out) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  int r = sd_bus_message_enter_container(message, 'v', "ay");
  if (r < 0) return r;
  const void* bytes = nullptr;
  std::size_t size = 0;
  r = sd_bus_message_read_array(message, 'y', &bytes, &size);
  if (r < 0) return r;
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<const unsigned char*>(bytes)[i];
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  // Empty while the unit isn't active: then the one before stays known.
  if (!text.empty()) out = std::move(text);
  return sd_bus_message_exit_container(message);
}

// The first command of a(sasbttttuii).
int read_command(sd_bus_message* message, std::vector<std::string>& out) {
  int r = sd_bus_message_enter_container(message, 'v', "a(sasbttttuii)");
  if (r >= 0) r = sd_bus_message_enter_container(message, 'a', "(sasbttttuii)");
  bool first = true;
  while (r >= 0 && (r = sd_bus_message_enter_container(message, 'r', "sasbttttuii")) > 0) {
    const char* path = nullptr;
    char** argv = nullptr;
    r = sd_bus_message_read(message, "s", &path);
    if (r >= 0) r = sd_bus_message_read_strv(message, &argv);
    for (char** at = argv; at != nullptr && *at != nullptr; ++at) {
      if (first) out.emplace_back(*at);
      ::free(*at);  // NOLINT: sd-bus allocates with malloc
    }
    ::free(argv);  // NOLINT
    first = false;
    if (r >= 0) r = sd_bus_message_skip(message, "bttttuii");
    if (r >= 0) r = sd_bus_message_exit_container(message);
  }
  if (r >= 0) r = sd_bus_message_exit_container(message);
  return r < 0 ? r : sd_bus_message_exit_container(message);
}

using Reader = std::function<int(sd_bus_message*, UnitState&)>;

const std::map<std::string_view, Reader>& readers() {
  static const std::map<std::string_view, Reader> kReaders = {
      {"LoadState", [](auto* m, auto& s) { return read_text(m, s.load_state); }},
      {"ActiveState", [](auto* m, auto& s) { return read_text(m, s.active_state); }},
      {"Result", [](auto* m, auto& s) { return read_text(m, s.result); }},
      {"InvocationID", [](auto* m, auto& s) { return read_invocation(m, s.invocation); }},
      {"MainPID", [](auto* m, auto& s) { return read_number(m, "u", s.main_pid); }},
      {"ExecMainCode", [](auto* m, auto& s) { return read_number(m, "i", s.exit_code); }},
      {"ExecMainStatus", [](auto* m, auto& s) { return read_number(m, "i", s.exit_value); }},
      {"ExecMainStartTimestamp", [](auto* m, auto& s) { return read_seconds(m, s.started_at); }},
      {"User", [](auto* m, auto& s) { return read_text(m, s.user); }},
      {"Group", [](auto* m, auto& s) { return read_text(m, s.group); }},
      {"ExecStart", [](auto* m, auto& s) { return read_command(m, s.command); }},
      {"ExecStopPost", [](auto* m, auto& s) { return read_command(m, s.stop_post); }},
  };
  return kReaders;
}

}  // namespace

int append_properties(sd_bus_message* message, const UnitProperties& properties) {
  int r = sd_bus_message_open_container(message, 'a', "(sv)");
  for (auto at = properties.begin(); r >= 0 && at != properties.end(); ++at) {
    r = sd_bus_message_open_container(message, 'r', "sv");
    if (r >= 0) r = sd_bus_message_append(message, "s", at->name.c_str());
    if (r >= 0) r = std::visit(Append{message}, at->value);
    if (r >= 0) r = sd_bus_message_close_container(message);
  }
  return r < 0 ? r : sd_bus_message_close_container(message);
}

int read_unit_state(sd_bus_message* message, UnitState& out) {
  int r = sd_bus_message_enter_container(message, 'a', "{sv}");
  while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
    const char* name = nullptr;
    r = sd_bus_message_read(message, "s", &name);
    if (r < 0) break;
    const auto known = readers().find(name);
    r = known == readers().end() ? sd_bus_message_skip(message, "v") : known->second(message, out);
    if (r >= 0) r = sd_bus_message_exit_container(message);
  }
  return r < 0 ? r : sd_bus_message_exit_container(message);
}

}  // namespace hawser::proxy
