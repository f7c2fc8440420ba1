// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

// What: one YAML mapping read key by key, collecting errors with file:line:column. Included by load.cpp and schema.cpp
// only, since yaml-cpp is heavy.
namespace hawser::config {

class Sink {
 public:
  Sink(std::string file, std::vector<Error>& errors) : file_(std::move(file)), errors_(errors) {}
  void add(const YAML::Mark& mark, Error error);

 private:
  std::string file_;
  std::vector<Error>& errors_;
};

class MapReader {
 public:
  MapReader(YAML::Node node, std::string path, Sink& sink);

  // Calls `read` with the scalar's text; its error gets the position.
  void scalar(const std::string& key, const std::function<Status(const std::string&)>& read);
  void text(const std::string& key, std::string& out);
  // A list of scalars, or a single one.
  void list(const std::string& key, const std::function<Status(const std::string&)>& read);
  void string_map(const std::string& key, std::map<std::string, std::string>& out);
  void map(const std::string& key, const std::function<void(MapReader&)>& read);
  void each_map(const std::string& key, const std::function<void(MapReader&)>& read);
  // A list whose items are scalars or mappings; or a single scalar.
  void each(const std::string& key, const std::function<Status(const std::string&)>& scalar,
            const std::function<void(MapReader&)>& map);
  bool has(const std::string& key) const { return node_.IsMap() && node_[key].IsDefined(); }
  YAML::Mark mark(const std::string& key) const { return node_[key].Mark(); }
  void fail(const std::string& key, Error error);
  // Names the keys that nobody asked for, and those that are there twice.
  void finish();

 private:
  YAML::Node take(const std::string& key);
  std::string name(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  YAML::Node node_;
  std::string path_;
  Sink& sink_;
  std::vector<std::string> known_;
};

}  // namespace hawser::config
