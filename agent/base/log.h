// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

// What: structured log. Levels mean: error = a promise to the user was broken; warn = degraded, self-healing;
// info = a state changed (under 20 lines an hour when healthy); debug = per event.
// Where stderr is the journal (JOURNAL_STREAM names it), entries go to journald with fields: MESSAGE (the whole line),
// PRIORITY, SYSLOG_IDENTIFIER, HAWSER_COMPONENT (a field `component` overrides it), HAWSER_ERROR_ID (the first
// HWS-XX-NNN of message or fields) and HAWSER_<KEY> for each field. Where it is only said to be, or journald can't be
// reached, lines go to stderr with a <N> priority prefix; else plain text. `format: json` is JSON on stderr everywhere.
// Threading: any thread. Failure: a line that can't be written is dropped.
namespace hawser::log {

enum class Level { kDebug, kInfo, kWarn, kError };
enum class Format { kText, kJson };

using Field = std::pair<std::string_view, std::string>;
using Fields = std::initializer_list<Field>;

// Call once, before threads start. `component` is the program's short name.
void init(std::string_view component, Level level, Format format);
void set_level(Level level);

void debug(std::string_view message, Fields fields = {});
void info(std::string_view message, Fields fields = {});
void warn(std::string_view message, Fields fields = {});
void error(std::string_view message, Fields fields = {});

}  // namespace hawser::log
