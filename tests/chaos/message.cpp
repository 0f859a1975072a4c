#include "tests/chaos/message.hpp"

#include <cstring>

namespace ackbus::chaos {
namespace {

constexpr std::uint64_t kMagic = 0x736f616863627361ULL;

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0xcbf29ce484222325ULL;
  for (const std::byte byte : bytes) {
    sum = (sum ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3ULL;
  }
  return sum;
}

bool one_in(std::mt19937_64& random, std::uint64_t count) { return random() % count == 0; }

std::uint32_t size_of_next(std::mt19937_64& random) {
  switch (random() % 10) {
    case 0:
      return static_cast<std::uint32_t>(sizeof(Body) + random() % (64 * 1024 - sizeof(Body) + 1));
    case 1:
    case 2:
    case 3:
      return static_cast<std::uint32_t>(sizeof(Body) + random() % 4096);
    default:
      return static_cast<std::uint32_t>(sizeof(Body) + random() % 17);  // inline
  }
}

void plan_work(Plan& plan, std::mt19937_64& random) {
  plan.wish = Wish::kSucceed;
  switch (random() % 16) {
    case 0:
      plan.wish = Wish::kSucceedInPart;
      break;
    case 1:
      plan.wish = Wish::kFail;
      break;
    case 2:
      plan.wish = Wish::kReportProgress;
      break;
    case 3:
      plan.cancel = true;
      break;
    case 4:
      plan.after = true;
      break;
    case 5:
    case 8:
    case 9:
    case 10:
    case 11:
      plan.options.max_wait = std::chrono::milliseconds(kShortWaitMs);
      break;
    case 6:
      plan.wish = one_in(random, 4) ? Wish::kAlwaysGiveBack : Wish::kSucceed;
      plan.options.max_retries = 2;
      break;
    case 7:
      plan.tracked = false;
      break;
    default:
      break;
  }
}

void plan_state(Plan& plan, std::mt19937_64& random) {
  plan.kind = kState;
  plan.options.key = 1 + random() % 3;
  plan.wish = one_in(random, 3) ? Wish::kGiveBack : Wish::kSucceed;
  plan.times = 1;
}

void plan_quick(Plan& plan, std::mt19937_64& random) {
  plan.kind = kQuick;
  plan.wish = one_in(random, 2) ? Wish::kOutlastTimeout : Wish::kOutlastRetries;
}

void plan_again(Plan& plan, std::mt19937_64& random) {
  plan.kind = kAgain;
  plan.wish = Wish::kGiveBack;
  plan.times = static_cast<std::uint32_t>(random() % 3);
}

}  // namespace

Plan next_plan(std::mt19937_64& random) {
  Plan plan;
  plan.bytes = size_of_next(random);
  switch (random() % 12) {
    case 0:
    case 1:
      plan_state(plan, random);
      break;
    case 2:
    case 5:
      plan_quick(plan, random);
      break;
    case 3:
    case 4:
      plan_again(plan, random);
      break;
    default:
      plan_work(plan, random);
      break;
  }
  return plan;
}

std::vector<std::byte> make_payload(const Plan& plan, std::uint32_t producer,
                                    std::uint32_t incarnation, std::uint64_t number) {
  std::vector<std::byte> payload(plan.bytes);
  Body body;
  body.magic = kMagic;
  body.bytes = plan.bytes;
  body.producer = producer;
  body.incarnation = incarnation;
  body.wish = plan.wish;
  body.number = number;
  body.times = plan.times;
  body.kind = static_cast<std::uint32_t>(plan.kind);
  std::memcpy(payload.data(), &body, sizeof(body));
  std::uint64_t word = number * 0x9e3779b97f4a7c15ULL + producer;
  for (std::size_t at = sizeof(Body); at < payload.size(); ++at) {
    word = word * 6364136223846793005ULL + 1442695040888963407ULL;
    payload[at] = static_cast<std::byte>(word >> 56);
  }
  constexpr std::size_t kSummed = 2 * sizeof(std::uint64_t);
  body.checksum = checksum_of(std::span(payload).subspan(kSummed));
  std::memcpy(payload.data(), &body, sizeof(body));
  return payload;
}

std::optional<Body> check_payload(std::span<const std::byte> payload) {
  Body body;
  if (payload.size() < sizeof(Body)) {
    return std::nullopt;
  }
  const std::vector<std::byte> copy(payload.begin(), payload.end());
  std::memcpy(&body, copy.data(), sizeof(body));
  constexpr std::size_t kSummed = 2 * sizeof(std::uint64_t);
  const bool sound = body.magic == kMagic && body.bytes == copy.size() &&
                     body.checksum == checksum_of(std::span(copy).subspan(kSummed));
  return sound ? std::optional(body) : std::nullopt;
}

}  // namespace ackbus::chaos
