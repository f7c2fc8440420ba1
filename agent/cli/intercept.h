// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"

namespace google::protobuf {
template <typename T>
class RepeatedPtrField;
}
namespace hawser::broker::v1 {
class Check;
}

// What: the verbs of `hawser intercept`, each added to that command.
namespace hawser::cli {

void add_intercept_plan(CLI::App& intercept, Context& context);
void add_intercept_explain(CLI::App& intercept, Context& context);
void add_intercept_import(CLI::App& intercept, Context& context);
void add_intercept_apply(CLI::App& intercept, Context& context);
void add_intercept_try(CLI::App& intercept, Context& context);
void add_intercept_status(CLI::App& intercept, Context& context);
void add_intercept_verify(CLI::App& intercept, Context& context);
void add_intercept_drain(CLI::App& intercept, Context& context);
void add_intercept_remove(CLI::App& intercept, Context& context);

// SSH_CONNECTION, so that nobody cuts off the very session that asks; empty without one.
std::string own_ssh_connection();
// A line each; false: one didn't pass.
bool print_checks(const google::protobuf::RepeatedPtrField<broker::v1::Check>& checks);

}  // namespace hawser::cli
