// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/foreign.h"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

namespace hawser::netfilter {
namespace {

struct Name {
  const char* prefix;
  const char* mesh;
};

// Traffic Director's script is an early istio-iptables.sh, and has its names.
constexpr Name kChains[] = {{"ISTIO_", "Istio or Traffic Director"},
                            {"KUMA_MESH_", "Kuma"},
                            {"PROXY_INIT_", "Linkerd"},
                            {"CONSUL_PROXY_", "Consul"},
                            {"CONSUL_DNS_REDIRECT", "Consul"}};
constexpr Name kTables[] = {{"istio-proxy-", "Istio"}};

template <std::size_t Size>
const char* mesh_of(const Name (&names)[Size], const std::string& name) {
  for (const Name& one : names)
    if (name.starts_with(one.prefix)) return one.mesh;
  return nullptr;
}

struct Line {
  std::string text;
  std::string handle;
};
struct Chain {
  std::string name;
  std::vector<Line> rules;
};
struct ForeignTable {
  std::string name;  // "ip nat"
  std::vector<Chain> chains;

  bool whole() const { return mesh_of_table(name.substr(name.find(' ') + 1)) != nullptr; }
  std::set<std::string> meshes() const {
    std::set<std::string> out;
    for (const Chain& chain : chains)
      if (const char* mesh = mesh_of_chain(chain.name)) out.insert(mesh);
    return out;
  }
};

// The last "# handle N" of a line, cut off.
Line cut_handle(const std::string& line) {
  constexpr std::string_view kMark = " # handle ";
  const auto at = line.rfind(kMark);
  if (at == std::string::npos) return {line, {}};
  return {line.substr(0, at), line.substr(at + kMark.size())};
}

std::vector<ForeignTable> parse(const std::string& ruleset) {
  std::vector<ForeignTable> out;
  std::istringstream lines(ruleset);
  std::string text;
  bool in_table = false;
  bool in_chain = false;
  while (std::getline(lines, text)) {
    std::istringstream words(text);
    std::string first;
    std::string second;
    std::string third;
    words >> first >> second >> third;
    if (text.starts_with("table ")) {
      out.push_back({second + " " + third, {}});
      in_table = true;
      in_chain = false;
    } else if (text.starts_with("}")) {
      in_table = false;
    } else if (!in_table) {
      continue;
    } else if (first == "chain" && text.find('{') != std::string::npos) {
      out.back().chains.push_back({second, {}});
      in_chain = true;
    } else if (first == "}") {
      in_chain = false;
    } else if (in_chain) {
      Line line = cut_handle(text);
      if (!line.handle.empty()) out.back().chains.back().rules.push_back(std::move(line));
    }
  }
  return out;
}

// "jump X", "goto X": X.
std::string jumps_to(const std::string& rule) {
  std::istringstream words(rule);
  std::string word;
  while (words >> word)
    if ((word == "jump" || word == "goto") && words >> word) return word;
  return {};
}

bool mentions(const std::string& rule, std::string_view what) {
  return rule.find(what) != std::string::npos;
}

// "iifname "X" counter packets 0 bytes 0 return" and no more: X.
std::string excluded_interface(const std::string& rule, const std::string& field) {
  std::istringstream words(rule);
  std::string name;
  std::string interface;
  std::string rest;
  words >> name >> interface;
  if (name != field) return {};
  for (const char* expected : {"counter", "packets", "", "bytes", "", "return"}) {
    std::string word;
    words >> word;
    if (*expected != '\0' && word != expected) return {};
  }
  return words >> rest ? std::string() : interface;
}

std::set<std::string> excluded_interfaces(const ForeignTable& table, const std::string& chain,
                                          const std::string& field) {
  std::set<std::string> out;
  for (const Chain& one : table.chains)
    if (one.name == chain)
      for (const Line& line : one.rules)
        if (const std::string name = excluded_interface(line.text, field); !name.empty()) out.insert(name);
  return out;
}

// Istio exempts an interface by the same bare rule in both chains of a table.
std::set<std::string> istio_interfaces(const ForeignTable& table) {
  const auto in = excluded_interfaces(table, "PREROUTING", "iifname");
  const auto out = excluded_interfaces(table, "OUTPUT", "oifname");
  std::set<std::string> both;
  std::set_intersection(in.begin(), in.end(), out.begin(), out.end(), std::inserter(both, both.end()));
  return both;
}

bool has_istio_mark(const std::string& rule) {
  return mentions(rule, "mark 0x00000539") || mentions(rule, "mark 0x539") || mentions(rule, "mark set 0x53a") ||
         mentions(rule, "mark set 0x0000053a");
}

bool theirs(const Line& line, const ForeignTable& table, const std::set<std::string>& interfaces) {
  if (mesh_of_chain(jumps_to(line.text)) != nullptr) return true;
  const auto meshes = table.meshes();
  if (meshes.count("Kuma") != 0 && mentions(line.text, "comment \"kuma/mesh/transparent/proxy")) return true;
  if (meshes.count(kChains[0].mesh) == 0) return false;
  for (const char* field : {"iifname", "oifname"})
    if (interfaces.count(excluded_interface(line.text, field)) != 0) return true;
  return table.name.ends_with(" mangle") && has_istio_mark(line.text);
}

std::string removal(const ForeignTable& table) {
  if (table.whole()) return "delete table " + table.name + "\n";
  if (table.meshes().empty()) return {};
  const auto interfaces = istio_interfaces(table);
  std::string rules;
  std::string flush;
  std::string chains;
  for (const Chain& chain : table.chains) {
    if (mesh_of_chain(chain.name) != nullptr) {
      flush += "flush chain " + table.name + " " + chain.name + "\n";
      chains += "delete chain " + table.name + " " + chain.name + "\n";
      continue;
    }
    for (const Line& line : chain.rules)
      if (theirs(line, table, interfaces))
        rules += "delete rule " + table.name + " " + chain.name + " handle " + line.handle + "\n";
  }
  return rules + flush + chains;
}

}  // namespace

const char* mesh_of_chain(const std::string& name) {
  return mesh_of(kChains, name);
}
const char* mesh_of_table(const std::string& name) {
  return mesh_of(kTables, name);
}

std::vector<Foreign> find_foreign(const std::string& ruleset) {
  std::vector<Foreign> out;
  for (const ForeignTable& table : parse(ruleset)) {
    if (table.whole()) {
      out.push_back({"Istio", "table " + table.name});
    } else {
      for (const std::string& mesh : table.meshes()) out.push_back({mesh, "table " + table.name});
    }
  }
  return out;
}

std::string emit_removal_of_foreign(const std::string& ruleset) {
  std::string out;
  for (const ForeignTable& table : parse(ruleset)) out += removal(table);
  return out;
}

std::string to_string(const std::vector<Foreign>& foreign) {
  std::map<std::string, std::string> by_mesh;
  for (const Foreign& one : foreign) {
    std::string& places = by_mesh[one.mesh];
    places += (places.empty() ? "" : ", ") + one.where;
  }
  std::string out;
  for (const auto& [mesh, places] : by_mesh) out += (out.empty() ? "" : "; ") + mesh + " (" + places + ")";
  return out;
}

}  // namespace hawser::netfilter
