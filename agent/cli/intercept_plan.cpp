// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/broker_call.h"
#include "cli/intercept.h"
#include "cli/intercept_intent.h"
#include "hawser/broker.pb.h"
#include "netfilter/emit_nft.h"
#include "netfilter/emit_xtables.h"
#include "netfilter/explain.h"

namespace hawser::cli {
namespace {

using netfilter::Family;
using netfilter::Plan;
using nlohmann::json;

struct PlanArguments {
  std::string format = "text";
  std::string families = "both";
  bool diff = false;
};

json rule_json(std::size_t number, const netfilter::Rule& rule) {
  return {{"number", number},        {"hook", to_string(rule.hook)},       {"purpose", to_string(rule.purpose)},
          {"rule", to_string(rule)}, {"captures", rule.action.captures()}, {"why", netfilter::reason(rule.purpose)}};
}

void print_json(const Interception& wanted) {
  const Plan& plan = wanted.plan;
  json out = {{"generation", plan.digest},         {"ipv4", plan.ipv4},       {"ipv6", plan.ipv6},
              {"outbound", plan.outbound},         {"inbound", plan.inbound}, {"outbound_port", plan.outbound_port},
              {"inbound_port", plan.inbound_port}, {"rules", json::array()}};
  for (std::size_t i = 0; i < plan.rules.size(); ++i) out["rules"].push_back(rule_json(i + 1, plan.rules[i]));
  std::printf("%s\n", with_names(out.dump(2), wanted).c_str());
}

Status print_iptables(const Plan& plan) {
  const auto form = netfilter::emit_xtables(plan);
  if (!form) return form.error();
  for (const std::string& limit : form->limits) std::printf("# %s\n", limit.c_str());
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const std::string text = netfilter::to_iptables(*form, family);
    if (text.empty()) continue;
    std::printf("# %s --noflush\n%s", family == Family::kIpv4 ? "iptables-restore" : "ip6tables-restore", text.c_str());
  }
  return {};
}

// Programs read it, so numbers stay numbers.
void print_stand_ins(const Interception& wanted) {
  for (const StandIn& one : wanted.stand_ins) std::printf("# %u stands for the ids of %s\n", one.id, one.name.c_str());
}

Status print(const Interception& wanted, const std::string& format) {
  const Plan& plan = wanted.plan;
  if (format == "nft" || format == "iptables") print_stand_ins(wanted);
  if (format == "iptables") return print_iptables(plan);
  if (format == "json")
    print_json(wanted);
  else if (format == "nft")
    std::printf("%s", netfilter::emit_nft(plan, netfilter::Existing::kNothing).c_str());
  else
    std::printf("%s", with_names(netfilter::plan_text(plan), wanted).c_str());
  return {};
}

Result<std::vector<std::string>> in_force(const Context& context) {
  broker::v1::Request request;
  request.mutable_observe()->set_rules(true);
  broker::v1::Response response;
  if (auto asked = broker_call(context, request, response, 5000); !asked) {
    if (asked.error().code() == Code::kNotFound || asked.error().code() == Code::kUnavailable)
      return Error(Code::kUnavailable, "HWS-RPC-002", "--diff asks hawser-broker: " + asked.error().message(),
                   "systemctl start hawser-broker.service, or leave --diff out");
    return asked.error();
  }
  const auto& rules = response.observe().rules();
  if (!rules.empty() || !response.observe().active()) return std::vector<std::string>(rules.begin(), rules.end());
  return Error(Code::kFailedPrecondition, "HWS-NF-092",
               "the broker can't say of which rules generation " + response.observe().digest() + " is",
               "use the same version of hawser and hawser-broker");
}

void print_diff(const std::vector<std::string>& before, const Plan& plan) {
  const std::string changes = netfilter::diff_text(before, netfilter::rule_lines(plan));
  if (changes.empty())
    std::printf("nothing would change: generation %s is in force\n", plan.digest.c_str());
  else if (before.empty())
    std::printf("nothing is in force; all of this is new\n%s", changes.c_str());
  else
    std::printf("%s", changes.c_str());
}

void run(Context& context, const PlanArguments& arguments) {
  // What is in force has no stand-ins.
  const auto wanted = configured_interception(context, arguments.families,
                                              arguments.diff ? UnknownUsers::kRefused : UnknownUsers::kStandIns);
  if (!wanted) return fail(context, wanted.error());
  say_warnings(*wanted);
  if (!arguments.diff) {
    if (auto printed = print(*wanted, arguments.format); !printed) fail(context, printed.error());
    return;
  }
  const auto before = in_force(context);
  if (!before) return fail(context, before.error());
  print_diff(*before, wanted->plan);
}

}  // namespace

void add_intercept_plan(CLI::App& intercept, Context& context) {
  auto arguments = std::make_shared<PlanArguments>();
  auto* command = intercept.add_subcommand(
      "plan", "The rules that the configuration asks for; changes nothing, needs neither root nor a daemon");
  command->fallthrough();
  auto* format = command->add_option("--format", arguments->format, "How to print them")
                     ->check(CLI::IsMember({"text", "nft", "iptables", "json"}))
                     ->capture_default_str();
  command->add_option("--family", arguments->families, "Where the proxy listens")
      ->check(CLI::IsMember({"both", "ipv4", "ipv6"}))
      ->capture_default_str();
  command->add_flag("--diff", arguments->diff, "What would change of the rules in force; asks hawser-broker")
      ->excludes(format);
  command->callback([&context, arguments] { run(context, *arguments); });
}

}  // namespace hawser::cli
