// SPDX-License-Identifier: Apache-2.0
#include "xds/snapshot/records.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sample.h"
#include "xds/snapshot/addresses.h"
#include "xds/snapshot/manifest.h"

namespace hawser::xds::snapshot::test {
namespace {

std::string sample() {
  return written(header(kClusters), {item("a", "v1", std::string("\x12\0\x01", 3)), item("b", "", "body")}).bytes;
}

// Flips each bit, cuts at each byte, and appends: nothing of it may be taken for what was written.
template <typename Parse>
void expect_every_damage_noticed(const std::string& bytes, Parse parse) {
  ASSERT_TRUE(parse(bytes));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const auto parsed = parse(damaged);
    ASSERT_FALSE(parsed) << "bit " << bit;
    ASSERT_EQ(parsed.error().id(), "HWS-SN-002") << "bit " << bit;
  }
  for (std::size_t length = 0; length < bytes.size(); ++length)
    ASSERT_FALSE(parse(bytes.substr(0, length))) << "cut at " << length;
  ASSERT_FALSE(parse(bytes + std::string(1, '\0')));
  ASSERT_FALSE(parse(bytes + bytes));
}

TEST(SnapshotRecords, ComeBackAsTheyWere) {
  const auto built = written(header(kClusters), {item("a", "v1", std::string("x\0y", 3)), item("b", "", "")});
  const auto parsed = records::parse(built.bytes);
  ASSERT_TRUE(parsed) << parsed.error().to_string();
  EXPECT_EQ(parsed->header.type_url, kClusters);
  EXPECT_EQ(parsed->header.system_version, "2026-11/7");
  EXPECT_EQ(parsed->header.node_identity, "spiffe://mesh/ns/a/sa/b");
  EXPECT_EQ(parsed->header.accepted_at, kNow);
  EXPECT_TRUE(parsed->header.wildcard);
  EXPECT_EQ(parsed->checksum, built.checksum);
  ASSERT_EQ(parsed->resources.size(), 2u);
  EXPECT_EQ(parsed->resources[0].name, "a");
  EXPECT_EQ(parsed->resources[0].version, "v1");
  EXPECT_EQ(parsed->resources[0].body, std::string("x\0y", 3));
  EXPECT_EQ(parsed->resources[1].body, "");
}

TEST(SnapshotRecords, AreWrittenPieceByPiece) {
  std::vector<records::Item> items;
  for (int i = 0; i < 1000; ++i) items.push_back(item(std::to_string(i), "v1", std::string(1000, 'x')));
  std::size_t largest = 0;
  std::size_t all = 0;
  const auto done = records::write(header(kClusters), items, [&](std::string_view piece) -> Status {
    largest = std::max(largest, piece.size());
    all += piece.size();
    return {};
  });
  ASSERT_TRUE(done);
  EXPECT_EQ(done->bytes, all);
  EXPECT_GT(all, 1'000'000u);
  EXPECT_LT(largest, 70'000u) << "a megabyte isn't held at once";
  EXPECT_EQ(written(header(kClusters), items).checksum, done->checksum);
}

TEST(SnapshotRecords, AFailureOfTheDiskEndsTheWriting) {
  const std::vector<records::Item> items(200, item("a", "v1", std::string(1000, 'x')));
  int pieces = 0;
  const auto done = records::write(header(kClusters), items, [&](std::string_view) -> Status {
    return ++pieces == 2 ? Status(Error(Code::kUnavailable, "HWS-FS-001", "no space")) : Status();
  });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().id(), "HWS-FS-001");
  EXPECT_EQ(pieces, 2);
}

TEST(SnapshotRecords, ATypeMayBeEmpty) {
  const auto parsed = records::parse(written(header(kRoutes), {}).bytes);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->resources.empty());
}

TEST(SnapshotRecords, EveryChangedBitAndEveryCutIsNoticed) {
  expect_every_damage_noticed(sample(), [](const std::string& bytes) { return records::parse(bytes); });
}

TEST(SnapshotRecords, RecordsOfTwoFilesDontMix) {
  const auto one = written(header(kClusters), {item("a", "v1", "left"), item("b", "v1", "right")}).bytes;
  const auto other = written(header(kClusters), {item("b", "v1", "right"), item("c", "v1", "above")}).bytes;
  const std::size_t end_one = one.find("left") + 4;
  const std::size_t end_other = other.find("right") + 5;
  ASSERT_FALSE(records::parse(one.substr(0, end_one) + other.substr(end_other))) << "a then c";
  ASSERT_FALSE(records::parse(one.substr(0, end_one))) << "a alone";
}

TEST(SnapshotRecords, ANameTwiceIsRefused) {
  EXPECT_FALSE(records::parse(written(header(kClusters), {item("a", "", "1"), item("a", "", "2")}).bytes));
}

TEST(SnapshotManifest, ComesBackAsItWas) {
  Manifest written = manifest();
  written.sequence = 7;
  written.types.push_back({kClusters, "Cluster.7.rec", 0xfeedfacecafebeef, 99, 2, "v", kNow, true});
  const auto parsed = parse_manifest(build_manifest(written));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->node_identity, written.node_identity);
  EXPECT_EQ(parsed->confirmed_plan, "plan");
  EXPECT_EQ(parsed->as_of, kNow);
  EXPECT_EQ(parsed->sequence, 7u);
  ASSERT_NE(parsed->find(kClusters), nullptr);
  EXPECT_EQ(parsed->find(kClusters)->checksum, 0xfeedfacecafebeef);
  EXPECT_EQ(parsed->find(kClusters)->file, "Cluster.7.rec");
  EXPECT_TRUE(parsed->find(kClusters)->wildcard);
  EXPECT_EQ(parsed->find(kRoutes), nullptr);
}

TEST(SnapshotManifest, EveryChangedBitAndEveryCutIsNoticed) {
  Manifest written = manifest();
  written.types.push_back({kClusters, "Cluster.7.rec", 1, 99, 2, "v", kNow, true});
  expect_every_damage_noticed(build_manifest(written), [](const std::string& bytes) { return parse_manifest(bytes); });
}

TEST(SnapshotManifest, NamesNoFileOutsideOfItsFolder) {
  for (const char* name : {"../identity/token", "/etc/shadow", ".", "..", ""}) {
    Manifest written = manifest();
    written.types.push_back({kClusters, name, 1, 99, 2, "v", kNow, true});
    EXPECT_FALSE(parse_manifest(build_manifest(written))) << name;
  }
}

TEST(SnapshotAddresses, EveryChangedBitAndEveryCutIsNoticed) {
  expect_every_damage_noticed(build_addresses({{"plane", {{"10.0.0.1", "fd00::1"}, kNow}}}),
                              [](const std::string& bytes) { return parse_addresses(bytes); });
}

}  // namespace
}  // namespace hawser::xds::snapshot::test
