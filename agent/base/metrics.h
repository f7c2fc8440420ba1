// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <map>
#include <memory>
#include <string>

// What: counters and gauges of hawserd, over prometheus-cpp's core registry. Names start with hawser_.
// Threading: any. Failure: none. A family is made on first use.
namespace hawser {

class Metrics {
 public:
  using Labels = std::map<std::string, std::string>;

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void add(const std::string& name, const std::string& help, const Labels& labels = {}, double by = 1);
  void set(const std::string& name, const std::string& help, const Labels& labels, double value);
  // Prometheus text format 0.0.4.
  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hawser
