// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include <cstdlib>
#include <memory>
#include <vector>

namespace hawser::log {
namespace {

struct State {
  std::shared_ptr<spdlog::logger> logger;
  std::string component = "hawser";
  Format format = Format::kText;
  bool prefix = false;   // <N> before each line: our stderr is read by journald, or by a manager like it
  bool journal = false;  // stderr is the journal, so its native protocol with fields is to be had, too
};

State& state() {
  static State* instance = new State;  // never destroyed: threads may log while the process ends
  if (!instance->logger) {
    instance->logger = std::make_shared<spdlog::logger>("hawser", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    instance->logger->set_pattern("%v");
  }
  return *instance;
}

std::string json_quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char raw : text) {
    auto c = static_cast<unsigned char>(raw);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += raw;
    } else if (c < 0x20) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += raw;
    }
  }
  return out + "\"";
}

std::string now_text() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1'000'000);
}

bool needs_quotes(std::string_view value) {
  return value.empty() || value.find_first_of(" \"=\n\t") != std::string_view::npos;
}

std::string render(std::string_view level, int priority, std::string_view message, Fields fields) {
  const State& s = state();
  if (s.format == Format::kJson) {
    std::string line = "{\"time\":" + json_quote(now_text()) + ",\"level\":" + json_quote(level) +
                       ",\"component\":" + json_quote(s.component) + ",\"message\":" + json_quote(message);
    for (const auto& [key, value] : fields) line += "," + json_quote(key) + ":" + json_quote(value);
    return line + "}";
  }
  std::string line = s.prefix ? fmt::format("<{}>", priority) : now_text() + " " + s.component + " ";
  line += fmt::format("{}: {}", level, message);
  for (const auto& [key, value] : fields)
    line += fmt::format(" {}={}", key, needs_quotes(value) ? json_quote(value) : value);
  return line;
}

// The first HWS-XX-NNN of the text: errors carry theirs in their text.
std::string_view error_id(std::string_view text) {
  constexpr std::string_view kMark = "HWS-";
  const auto is = [](char c, char low, char high) { return c >= low && c <= high; };
  for (auto at = text.find(kMark); at != std::string_view::npos; at = text.find(kMark, at + 1)) {
    auto end = at + kMark.size();
    while (end < text.size() && is(text[end], 'A', 'Z')) ++end;
    if (end == at + kMark.size() || end >= text.size() || text[end] != '-') continue;
    const auto digits = ++end;
    while (end < text.size() && is(text[end], '0', '9')) ++end;
    if (end - digits == 3) return text.substr(at, end - at);
  }
  return {};
}

// HAWSER_ and the key in capitals; a journal field's name has only A to Z, 0 to 9 and _.
std::string field_name(std::string_view key) {
  std::string name = "HAWSER_";
  for (const char c : key) {
    if (c >= 'a' && c <= 'z')
      name += static_cast<char>(c - 'a' + 'A');
    else
      name += (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  }
  return name;
}

// MESSAGE reads as the line on a terminal does: `journalctl -u hawserd` shows nothing else.
bool write_journal(int priority, std::string_view message, Fields fields) {
  const State& s = state();
  std::vector<std::string> entries = {"MESSAGE=" + std::string(message), "PRIORITY=" + std::to_string(priority),
                                      "SYSLOG_IDENTIFIER=" + s.component, "HAWSER_COMPONENT=" + s.component};
  std::string_view id = error_id(message);
  for (const auto& [key, value] : fields) {
    entries[0] += fmt::format(" {}={}", key, needs_quotes(value) ? json_quote(value) : value);
    if (key == "component")
      entries[3] = "HAWSER_COMPONENT=" + value;
    else
      entries.push_back(field_name(key) + "=" + value);
    if (id.empty()) id = error_id(value);
  }
  if (!id.empty()) entries.push_back("HAWSER_ERROR_ID=" + std::string(id));
  std::vector<iovec> parts;
  parts.reserve(entries.size());
  for (auto& entry : entries) parts.push_back({entry.data(), entry.size()});
  return sd_journal_sendv(parts.data(), static_cast<int>(parts.size())) == 0;
}

// JOURNAL_STREAM names the device and inode of what systemd connected; a later redirection of stderr shows by them.
bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat seen {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &seen) != 0) return false;
  return fmt::format("{}:{}", seen.st_dev, seen.st_ino) == stream;
}

void write(spdlog::level::level_enum level, std::string_view name, int priority, std::string_view message,
           Fields fields) {
  auto& logger = *state().logger;
  if (!logger.should_log(level)) return;
  if (state().journal && write_journal(priority, message, fields)) return;
  logger.log(level, "{}", render(name, priority, message, fields));
  logger.flush();
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kWarn:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kInfo:
      break;
  }
  return spdlog::level::info;
}

}  // namespace

void init(std::string_view component, Level level, Format format) {
  State& s = state();
  s.component = component;
  s.format = format;
  s.prefix = std::getenv("JOURNAL_STREAM") != nullptr;
  // Who asked for JSON gets JSON, also in the journal.
  s.journal = format == Format::kText && stderr_is_journal();
  set_level(level);
}

void set_level(Level level) {
  state().logger->set_level(to_spdlog(level));
}

void debug(std::string_view message, Fields fields) {
  write(spdlog::level::debug, "debug", 7, message, fields);
}
void info(std::string_view message, Fields fields) {
  write(spdlog::level::info, "info", 6, message, fields);
}
void warn(std::string_view message, Fields fields) {
  write(spdlog::level::warn, "warning", 4, message, fields);
}
void error(std::string_view message, Fields fields) {
  write(spdlog::level::err, "error", 3, message, fields);
}

}  // namespace hawser::log
