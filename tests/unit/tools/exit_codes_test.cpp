// The exit codes: each error, outcome and file error has its documented number.
#include "tools/exit_codes.hpp"

#include <gtest/gtest.h>

namespace ackbus::tools {
namespace {

int number(ExitCode code) { return static_cast<int>(code); }

TEST(ExitCodes, ErrorsOfTheLibraryHaveTheDocumentedNumbers) {
  EXPECT_EQ(number(exit_code_of(ErrorCode::kInvalid)), 2);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kNoDaemon)), 3);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kDisconnected)), 3);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kPermission)), 4);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kTimeout)), 5);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kClosed)), 7);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kNotFound)), 9);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kQuota)), 12);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kMemory)), 12);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kBackPressured)), 12);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kVersion)), 13);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kProtocol)), 13);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kSystem)), 14);
  EXPECT_EQ(number(exit_code_of(ErrorCode::kForked)), 14);
}

TEST(ExitCodes, OnlySuccessesAreZero) {
  EXPECT_EQ(number(exit_code_of(OutcomeCode::kSuccess)), 0);
  EXPECT_EQ(number(exit_code_of(OutcomeCode::kPartialSuccess)), 0);
  EXPECT_EQ(number(exit_code_of(OutcomeCode::kFailed)), 1);
  EXPECT_EQ(number(exit_code_of(OutcomeCode::kExhausted)), 6);
  EXPECT_EQ(number(exit_code_of(OutcomeCode::kClosed)), 7);
  EXPECT_EQ(number(exit_code_of(OutcomeCode::kSuperseded)), 11);
  EXPECT_EQ(number(exit_code_of(OutcomeCode::kCancelled)), 11);
  EXPECT_EQ(number(exit_code_of(OutcomeCode::kCancelledMayHaveRun)), 11);
  EXPECT_NE(number(exit_code_of(OutcomeCode::kReserved)), 0);
}

TEST(ExitCodes, WhatWasReadIsBadInputAndWhatCannotBeWrittenIsNot) {
  EXPECT_EQ(number(exit_code_of(FileErrorCode::kUnreadable)), 8);
  EXPECT_EQ(number(exit_code_of(FileErrorCode::kMalformed)), 8);
  EXPECT_EQ(number(exit_code_of(FileErrorCode::kTruncated)), 8);
  EXPECT_EQ(number(exit_code_of(FileErrorCode::kOutOfRange)), 8);
  EXPECT_EQ(number(exit_code_of(FileErrorCode::kEmpty)), 8);
  EXPECT_EQ(number(exit_code_of(FileErrorCode::kUnwritable)), 14);
  EXPECT_EQ(number(exit_code_of(FileErrorCode::kUnknownExtension)), 2);
}

}  // namespace
}  // namespace ackbus::tools
