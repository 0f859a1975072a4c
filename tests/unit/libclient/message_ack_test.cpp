// The four answers of a consumer, their builders and their questions.
#include <ackbus/message_ack.hpp>
//
#include <gtest/gtest.h>

#include <chrono>

namespace ackbus {
namespace {

const MessageAck::Clock::time_point kWhen{std::chrono::seconds(1'700'000'000)};

TEST(MessageAck, OfSuccessIsASuccess) {
  const MessageId id = MessageId::create();
  const MessageAck ack = MessageAck::success(id, kWhen);
  EXPECT_EQ(ack.id, id);
  EXPECT_EQ(ack.status, MessageAck::Status(ack_status::Success{}));
  EXPECT_EQ(ack.timestamp, kWhen);
  EXPECT_TRUE(ack.metadata.empty());
  EXPECT_TRUE(ack.is_success());
  EXPECT_FALSE(ack.is_failure());
  EXPECT_FALSE(ack.is_retrying());
  EXPECT_TRUE(ack.is_final());
}

TEST(MessageAck, OfPartialSuccessIsASuccessWithAReason) {
  const MessageAck ack = MessageAck::partial_success(MessageId::create(), "host memory only");
  EXPECT_EQ(std::get<ack_status::PartialSuccess>(ack.status).reason, "host memory only");
  EXPECT_TRUE(ack.is_success());
  EXPECT_FALSE(ack.is_failure());
  EXPECT_FALSE(ack.is_retrying());
  EXPECT_TRUE(ack.is_final());
}

TEST(MessageAck, OfFailureCarriesTheError) {
  const MessageAck ack = MessageAck::failure(MessageId::create(), "no such device");
  EXPECT_EQ(std::get<ack_status::Failed>(ack.status).error, "no such device");
  EXPECT_FALSE(ack.is_success());
  EXPECT_TRUE(ack.is_failure());
  EXPECT_FALSE(ack.is_retrying());
  EXPECT_TRUE(ack.is_final());
}

TEST(MessageAck, OfRetryingCarriesTheAttemptAndIsNotFinal) {
  const MessageAck ack = MessageAck::retrying(MessageId::create(), 3);
  EXPECT_EQ(std::get<ack_status::Retrying>(ack.status).attempt, 3U);
  EXPECT_FALSE(ack.is_success());
  EXPECT_FALSE(ack.is_failure());
  EXPECT_TRUE(ack.is_retrying());
  EXPECT_FALSE(ack.is_final());
}

TEST(MessageAck, IsStampedWithTheTimeOfItsBuildingUnlessSaid) {
  const auto before = MessageAck::Clock::now();
  const MessageAck ack = MessageAck::success(MessageId::create());
  EXPECT_GE(ack.timestamp, before);
  EXPECT_LE(ack.timestamp, MessageAck::Clock::now());
}

TEST(MessageAck, TakesMetadataInAChain) {
  const MessageAck ack = MessageAck::success(MessageId::create(), kWhen)
                             .with_metadata("nodes", "17000")
                             .with_metadata("edges", "55000")
                             .with_metadata("processing_time_us", "830");
  EXPECT_EQ(ack.metadata,
            (MessageAck::Metadata{
                {"edges", "55000"}, {"nodes", "17000"}, {"processing_time_us", "830"}}));
}

TEST(MessageAck, ReplacesMetadataOfTheSameName) {
  const MessageAck ack = MessageAck::failure(MessageId::create(), "full")
                             .with_metadata("need", "1")
                             .with_metadata("need", "2");
  EXPECT_EQ(ack.metadata, (MessageAck::Metadata{{"need", "2"}}));
  EXPECT_TRUE(ack.is_failure());
}

TEST(MessageAck, StaysAsItWasWhenACopyTakesMetadata) {
  const MessageAck plain = MessageAck::success(MessageId::create(), kWhen);
  const MessageAck rich = plain.with_metadata("nodes", "1");
  EXPECT_TRUE(plain.metadata.empty());
  EXPECT_EQ(rich.metadata.at("nodes"), "1");
  EXPECT_NE(plain, rich);
  EXPECT_EQ(plain.id, rich.id);
}

}  // namespace
}  // namespace ackbus
