// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

// What: several expositions in Prometheus' text format 0.0.4 made into one that is valid. The format wants all lines of
// a metric together, and at most one HELP and one TYPE for it: the first part's are kept. Where a later part gives the
// same name another type, its lines of that name are dropped, as a scraper would refuse the whole document. Comments
// and lines that are no samples are dropped. Pure.
namespace hawser::status {

std::string merge_metrics(const std::vector<std::string_view>& parts);

}  // namespace hawser::status
