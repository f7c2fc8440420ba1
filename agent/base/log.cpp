// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>

namespace hawser::log {
namespace {

struct State {
  std::shared_ptr<spdlog::logger> logger;
  std::string component = "hawser";
  Format format = Format::kText;
  bool journal = false;
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
  std::string line = s.journal ? fmt::format("<{}>", priority) : now_text() + " " + s.component + " ";
  line += fmt::format("{}: {}", level, message);
  for (const auto& [key, value] : fields)
    line += fmt::format(" {}={}", key, needs_quotes(value) ? json_quote(value) : value);
  return line;
}

void write(spdlog::level::level_enum level, std::string_view name, int priority, std::string_view message,
           Fields fields) {
  auto& logger = *state().logger;
  if (!logger.should_log(level)) return;
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
  s.journal = std::getenv("JOURNAL_STREAM") != nullptr;
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
