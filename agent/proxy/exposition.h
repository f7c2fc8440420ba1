// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

// What: the lines of Prometheus' text format 0.0.4, one at a time, without a copy. Strict: what isn't written as the
// format says is no sample. Pure; any bytes may come in. Failure: an empty optional.
namespace hawser::proxy::exposition {

// Takes the next line off `text`, without its end.
std::string_view take_line(std::string_view& text);

struct Sample {
  std::string_view name;
  std::string_view key;  // the name with its labels
  double value = 0;      // finite
};
std::optional<Sample> parse_sample(std::string_view line);

struct Type {
  std::string_view name;
  std::string_view type;
};
// "# TYPE name type".
std::optional<Type> parse_type(std::string_view line);

// How a sample's name belongs to a family's.
enum class Part { kOther, kPlain, kBucket, kSum, kCount };
Part part_of(std::string_view sample, std::string_view family);

}  // namespace hawser::proxy::exposition
