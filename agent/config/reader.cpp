// SPDX-License-Identifier: Apache-2.0
#include "config/reader.h"

#include <algorithm>
#include <set>

#include "config/value.h"

namespace hawser::config {
namespace {

// Where the cause itself says what would be right, nothing more is known.
Error with_fix(Error error) {
  if (!error.hint().empty()) return error;
  const char* fix = error.id() == "HWS-CF-005" ? "add it" : "correct it; hawser.yaml(5) says what it may be";
  return {error.code(), error.id(), error.message(), fix};
}

}  // namespace

void Sink::add(const YAML::Mark& mark, Error error) {
  error = with_fix(std::move(error));
  std::string where = file_;
  if (!mark.is_null()) where += ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
  errors_.push_back(std::move(error.at(std::move(where))));
}

MapReader::MapReader(YAML::Node node, std::string path, Sink& sink)
    : node_(std::move(node)), path_(std::move(path)), sink_(sink) {
  if (node_.IsMap() || node_.IsNull()) return;
  sink_.add(node_.Mark(), Error(Code::kInvalidArgument, "HWS-CF-004",
                                (path_.empty() ? std::string("the document") : path_) + " must be a mapping",
                                "write 'key: value' lines"));
  node_ = YAML::Node(YAML::NodeType::Map);
}

YAML::Node MapReader::take(const std::string& key) {
  known_.push_back(key);
  if (!node_.IsMap()) return YAML::Node(YAML::NodeType::Undefined);
  const YAML::Node& view = node_;  // the const form doesn't create the key
  YAML::Node found = view[key];
  if (found.IsDefined() && found.IsNull()) return YAML::Node(YAML::NodeType::Undefined);  // "key:" keeps the default
  return found;
}

void MapReader::fail(const std::string& key, Error error) {
  Error named(error.code(), error.id(), name(key) + ": " + error.message(), error.hint());
  sink_.add(has(key) ? mark(key) : node_.Mark(), std::move(named));
}

void MapReader::scalar(const std::string& key, const std::function<Status(const std::string&)>& read) {
  const YAML::Node value = take(key);
  if (!value.IsDefined()) return;
  if (!value.IsScalar()) return fail(key, Error(Code::kInvalidArgument, "HWS-CF-004", "must be a single value"));
  if (auto status = read(value.Scalar()); !status) fail(key, status.error());
}

void MapReader::text(const std::string& key, std::string& out) {
  scalar(key, [&out](const std::string& value) -> Status {
    out = value;
    return {};
  });
}

void MapReader::list(const std::string& key, const std::function<Status(const std::string&)>& read) {
  const YAML::Node value = take(key);
  if (!value.IsDefined()) return;
  if (value.IsScalar()) {
    if (auto status = read(value.Scalar()); !status) fail(key, status.error());
    return;
  }
  if (!value.IsSequence()) return fail(key, Error(Code::kInvalidArgument, "HWS-CF-004", "must be a list"));
  for (const YAML::Node& item : value) {
    Status status = item.IsScalar()
                        ? read(item.Scalar())
                        : Status(Error(Code::kInvalidArgument, "HWS-CF-004", "must be a list of plain values"));
    if (!status)
      sink_.add(item.Mark(), Error(status.error().code(), status.error().id(),
                                   name(key) + ": " + status.error().message(), status.error().hint()));
  }
}

void MapReader::string_map(const std::string& key, std::map<std::string, std::string>& out) {
  const YAML::Node value = take(key);
  if (!value.IsDefined()) return;
  if (!value.IsMap()) return fail(key, Error(Code::kInvalidArgument, "HWS-CF-004", "must be a mapping"));
  for (const auto& entry : value) {
    if (!entry.second.IsScalar()) {
      sink_.add(entry.second.Mark(), Error(Code::kInvalidArgument, "HWS-CF-004",
                                           name(key) + "." + entry.first.Scalar() + " must be a single value"));
      continue;
    }
    out[entry.first.Scalar()] = entry.second.Scalar();
  }
}

void MapReader::map(const std::string& key, const std::function<void(MapReader&)>& read) {
  const YAML::Node value = take(key);
  if (!value.IsDefined()) return;
  MapReader inner(value, name(key), sink_);
  read(inner);
  inner.finish();
}

void MapReader::each_map(const std::string& key, const std::function<void(MapReader&)>& read) {
  const YAML::Node value = take(key);
  if (!value.IsDefined()) return;
  if (!value.IsSequence()) return fail(key, Error(Code::kInvalidArgument, "HWS-CF-004", "must be a list of mappings"));
  for (const YAML::Node& item : value) {
    MapReader inner(item, name(key), sink_);
    read(inner);
    inner.finish();
  }
}

void MapReader::each(const std::string& key, const std::function<Status(const std::string&)>& scalar,
                     const std::function<void(MapReader&)>& map) {
  const YAML::Node value = take(key);
  if (!value.IsDefined()) return;
  if (!value.IsScalar() && !value.IsSequence())
    return fail(key, Error(Code::kInvalidArgument, "HWS-CF-004", "must be a list"));
  const auto read = [&](const YAML::Node& item) {
    if (!item.IsScalar()) {
      MapReader inner(item, name(key), sink_);
      map(inner);
      inner.finish();
    } else if (auto status = scalar(item.Scalar()); !status) {
      sink_.add(item.Mark(), Error(status.error().code(), status.error().id(),
                                   name(key) + ": " + status.error().message(), status.error().hint()));
    }
  };
  if (value.IsScalar()) return read(value);
  for (const YAML::Node& item : value) read(item);
}

void MapReader::finish() {
  if (!node_.IsMap()) return;
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
    if (!seen.insert(key).second)
      sink_.add(entry.first.Mark(),
                Error(Code::kInvalidArgument, "HWS-CF-004", name(key) + " is there already", "write it once"));
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    auto suggestion = nearest(key, known_);
    sink_.add(entry.first.Mark(),
              Error(Code::kInvalidArgument, "HWS-CF-003", "unknown key '" + name(key) + "'",
                    suggestion ? "did you mean '" + *suggestion + "'?" : "see hawser.yaml(5) for the keys"));
  }
}

}  // namespace hawser::config
