// What ackbus-gpu tells the service manager by its exit status: start it again, or do not.
#include <gtest/gtest.h>

#include "gpu_proc/worker.hpp"

namespace ackbus::gpu {
namespace {

TEST(ExitStatus, WhatOnlyAPersonCanChangeAsksNotToBeStartedAgain) {
  for (const ErrorCode code :
       {ErrorCode::kPermission, ErrorCode::kVersion, ErrorCode::kNotFound, ErrorCode::kInvalid}) {
    EXPECT_EQ(exit_status_of(code), kExitUnavailable) << static_cast<int>(code);
  }
}

TEST(ExitStatus, WhatPassesByItselfAsksToBeStartedAgain) {
  for (const ErrorCode code :
       {ErrorCode::kNoDaemon, ErrorCode::kDisconnected, ErrorCode::kTimeout, ErrorCode::kMemory,
        ErrorCode::kQuota, ErrorCode::kClosed, ErrorCode::kSystem, ErrorCode::kProtocol}) {
    EXPECT_EQ(exit_status_of(code), kExitFailed) << static_cast<int>(code);
  }
}

// ackbus-gpu@.service names them.
TEST(ExitStatus, TheUnitsNumbersAreThese) {
  EXPECT_EQ(kExitUsage, 2);
  EXPECT_EQ(kExitUnavailable, 69);
  EXPECT_EQ(kExitRestart, 75);
}

}  // namespace
}  // namespace ackbus::gpu
