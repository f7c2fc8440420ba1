// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "import/importer.h"

namespace hawser::import {

// One setting under all of its names.
struct Name {
  const char* key;       // the long flag, and what Values knows it by
  char letter;           // 0: none
  bool boolean;          // a flag that needs no value
  const char* variable;  // "": none
  const char* other_variable = "";
};

struct Value {
  std::string text;
  std::string place;  // "--name", "-b" or "sidecar.env:3"
};

// What: flags and NAME=VALUE lines → values by key. `others` gets variables that no name has. Pure. Threading: none.
// Failure: HWS-IM-001, 002, 004.
class Values {
 public:
  static Result<Values> read(const std::vector<Name>& names, const Input& input);

  const Value* find(const std::string& key) const;
  std::string text(const std::string& key, const std::string& otherwise = {}) const;
  bool has(const std::string& key) const { return find(key) != nullptr; }
  // As Go's strconv.ParseBool and the shell's scripts understand it.
  bool yes(const std::string& key) const;
  std::string place(const std::string& key) const;
  const std::vector<std::string>& words() const { return words_; }  // arguments that are no flags
  const std::map<std::string, Value>& others() const { return others_; }

 private:
  Status read_line(const std::vector<Name>& names, std::string line, const std::string& place);
  Status read_arguments(const std::vector<Name>& names, const std::vector<std::string>& arguments);

  std::map<std::string, Value> values_;
  std::map<std::string, Value> others_;
  std::vector<std::string> words_;
};

}  // namespace hawser::import
