// SPDX-License-Identifier: Apache-2.0
#include "registration/refusal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hawser::registration {
namespace {

using testing::HasSubstr;

const Applicant kWho{"demo", "vm-app", "vm-app"};

std::string id(Code code, const std::string& message) {
  const auto refusal = explain_refusal(code, message, kWho);
  return refusal ? refusal->id() : "none";
}

TEST(Refusal, IsKnownByThePlanesOwnWords) {
  EXPECT_EQ(id(Code::kFailedPrecondition,
               "auto-registration WorkloadEntry of vm failed: cannot find WorkloadGroup demo/vm-app"),
            "HWS-RG-003");
  EXPECT_EQ(id(Code::kFailedPrecondition, "auto-registration: no workload group demo/vm-app"), "HWS-RG-003");
  EXPECT_EQ(id(Code::kUnknown, R"(registration of WorkloadEntry service account mismatch: "a" vs "b")"), "HWS-RG-004");
  EXPECT_EQ(id(Code::kPermissionDenied, "auto-registration: group x is of service account demo/b, not demo/a"),
            "HWS-RG-004");
  EXPECT_EQ(id(Code::kUnknown, R"(registration of WorkloadEntry namespace mismatch: "a" vs "b")"), "HWS-RG-005");
  EXPECT_EQ(id(Code::kPermissionDenied, "anything"), "HWS-RG-005");
  EXPECT_EQ(id(Code::kUnknown, "registration of WorkloadEntry requires a verified identity"), "HWS-RG-006");
  EXPECT_EQ(id(Code::kUnknown, "auto-registration WorkloadEntry of x failed: error creating WorkloadEntry: conflict"),
            "HWS-RG-007");
  EXPECT_EQ(id(Code::kUnknown, "failed updating WorkloadEntry demo/x err: timeout"), "HWS-RG-007");
  EXPECT_EQ(
      id(Code::kUnknown, "proxy metadata indicates that it must correspond to an existing WorkloadEntry, however"),
      "HWS-RG-009");
}

TEST(Refusal, OtherEndsAreNone) {
  EXPECT_EQ(id(Code::kUnavailable, "connection refused"), "none");
  EXPECT_EQ(id(Code::kResourceExhausted, "request rate limit exceeded"), "none");
  EXPECT_EQ(id(Code::kFailedPrecondition, "something new"), "none");
}

TEST(Refusal, NamesTheGroupAndTheAnswer) {
  const auto refusal = explain_refusal(Code::kFailedPrecondition, "cannot find WorkloadGroup demo/vm-app", kWho);
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->message(), HasSubstr("demo/vm-app"));
  ASSERT_NE(refusal->cause(), nullptr);
  EXPECT_THAT(refusal->cause()->message(), HasSubstr("cannot find"));
}

}  // namespace
}  // namespace hawser::registration
