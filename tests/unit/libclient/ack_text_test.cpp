// Text and metadata of an ack: what fits comes back whole, what does not is cut and flagged, and
// lengths from a hostile writer stay inside the slot's text.
#include "libclient/src/ack_text.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>

namespace ackbus {
namespace {

constexpr std::size_t kBytes = layout::kAckTextBytesMax;

struct Read {
  std::string text;
  Metadata metadata;
};

class AckText : public ::testing::Test {
 protected:
  Read read(std::uint32_t lengths) const {
    Read read;
    read_ack_text(*words_, lengths, read.text, read.metadata);
    return read;
  }
  std::unique_ptr<layout::AckText> words_ = std::make_unique<layout::AckText>();
};

TEST_F(AckText, ComesBackWithItsMetadataInOrder) {
  const Metadata metadata = {{"steps", "12"}, {"", "no key"}, {"no value", ""}, {"steps", "13"}};
  const AckTextWritten written = write_ack_text(*words_, "three edges ignored", metadata);
  EXPECT_FALSE(written.cut);
  const Read back = read(written.lengths);
  EXPECT_EQ(back.text, "three edges ignored");
  EXPECT_EQ(back.metadata, metadata);
}

TEST_F(AckText, KeepsZeroBytes) {
  const std::string text("a\0b", 3);
  const AckTextWritten written = write_ack_text(*words_, text, {});
  EXPECT_EQ(read(written.lengths).text, text);
}

TEST_F(AckText, OfExactlyTheLimitIsWholeAndOneByteMoreIsCut) {
  const std::string fits(kBytes, 'x');
  AckTextWritten written = write_ack_text(*words_, fits, {});
  EXPECT_FALSE(written.cut);
  EXPECT_EQ(read(written.lengths).text, fits);
  written = write_ack_text(*words_, fits + "y", {});
  EXPECT_TRUE(written.cut);
  EXPECT_EQ(read(written.lengths).text, fits);
}

TEST_F(AckText, DropsWholePairsFromTheFirstThatDoesNotFit) {
  const Metadata metadata = {
      {"a", std::string(100, '1')}, {"b", std::string(kBytes, '2')}, {"c", "3"}};
  const AckTextWritten written = write_ack_text(*words_, "t", metadata);
  EXPECT_TRUE(written.cut);
  EXPECT_EQ(read(written.lengths).metadata, Metadata({metadata[0]}));
}

TEST_F(AckText, TakesAPairThatEndsExactlyAtTheLimit) {
  const Metadata exact = {{"k", std::string(kBytes - 10 - 4 - 1, 'v')}};
  EXPECT_FALSE(write_ack_text(*words_, std::string(10, 't'), exact).cut);
  EXPECT_TRUE(write_ack_text(*words_, std::string(11, 't'), exact).cut);
}

TEST_F(AckText, FromAHostileWriterIsReadOnlyWithinTheSlot) {
  const std::uint64_t seed = 99;
  std::cout << "seed " << seed << "\n";
  std::mt19937_64 random(seed);
  for (int round = 0; round < 5'000; ++round) {
    for (auto& word : words_->words) {
      word.store_relaxed(random() & (random() % 2 == 0 ? 0x00ff'0007'0003'0001ULL : ~0ULL));
    }
    const Read back = read(static_cast<std::uint32_t>(random()));
    ASSERT_LE(back.text.size(), kBytes);
    std::size_t bytes = back.text.size();
    for (const auto& [key, value] : back.metadata) {
      bytes += 4 + key.size() + value.size();
    }
    ASSERT_LE(bytes, kBytes);
  }
}

}  // namespace
}  // namespace ackbus
