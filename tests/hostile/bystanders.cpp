#include "tests/hostile/bystanders.hpp"

#include <poll.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <new>
#include <random>

namespace ackbus::hostile {

using process_test::Channel;
using process_test::Helper;
using process_test::milliseconds;
using process_test::seconds;
using process_test::soon;

namespace {

constexpr std::uint64_t kMagic = 0x6273'7461'6e64'6572ULL;
constexpr std::uint64_t kSecret = 0x9d2c'5680'1f3b'77a1ULL;
constexpr std::size_t kOutstanding = 16;
constexpr seconds kOutcomePatience{60};

struct Head {
  std::uint64_t magic;
  std::uint64_t mark;
  std::uint64_t number;
  std::uint64_t bytes;
};
static_assert(sizeof(Head) == kHeadBytes);

std::uint64_t mixed(std::uint64_t value) {
  value ^= value >> 33;
  value *= 0xff51'afd7'ed55'8ccdULL;
  value ^= value >> 33;
  return value * 0xc4ce'b9fe'1a85'ec53ULL;
}

std::byte byte_at(const Head& head, std::size_t index) {
  return static_cast<std::byte>(
      mixed(kSecret ^ head.mark * 0x1000193 ^ mixed(head.number) ^ index / 8) >> (index % 8 * 8));
}

void fail(Watch& watch, const std::string& why) {
  if (watch.failures.fetch_add(1) == 0) {
    why.copy(watch.why, sizeof(watch.why) - 1);
  }
}

// One producer's conversation.
class Sender {
 public:
  Sender(ProducerOptions options, std::uint64_t mark, bool strict, Watch& watch)
      : options_(std::move(options)), mark_(mark), strict_(strict), watch_(watch), random_(mark) {}

  int run() {
    while (!watch_.stop.load()) {
      if (!producer_ && !connect()) {
        continue;
      }
      if (!send_one()) {
        continue;
      }
      if (outstanding_.size() >= kOutstanding) {
        take_one();
      }
    }
    while (producer_ && !outstanding_.empty()) {
      take_one();
    }
    return 0;
  }

 private:
  struct Sent {
    Ticket ticket;
    std::string answer;
  };

  bool connect() {
    Result<Producer> made = Producer::connect(options_);
    if (made) {
      producer_.emplace(std::move(*made));
    } else if (strict_) {
      fail(watch_, "connect: " + made.error().text);
    }
    return made.ok();
  }

  bool send_one() {
    const std::size_t sizes[] = {kHeadBytes, 48, 64, 65, 200, 4096};
    const std::vector<std::byte> payload =
        honest_payload(mark_, ++number_, sizes[random_() % std::size(sizes)]);
    const auto patience = strict_ ? milliseconds(kOutcomePatience) : milliseconds(500);
    Result<Ticket> ticket = producer_->send(Kind::kComputeForces, payload, soon(patience));
    if (ticket) {
      outstanding_.push_back({*ticket, honest_answer(payload)});
      return true;
    }
    if (strict_) {
      fail(watch_, "send: " + ticket.error().text);
      watch_.stop.store(true);
      return false;
    }
    watch_.mistakes.fetch_add(1);
    if (ticket.error().code == ErrorCode::kClosed) {
      outstanding_.clear();
      producer_.reset();
    } else if (!outstanding_.empty()) {
      take_one();
    }
    return false;
  }

  void take_one() {
    const Sent sent = std::move(outstanding_.front());
    outstanding_.pop_front();
    const auto patience = strict_ ? milliseconds(kOutcomePatience) : milliseconds(500);
    const Result<Outcome> outcome = producer_->wait(sent.ticket, soon(patience));
    const bool right =
        outcome && outcome->code == OutcomeCode::kSuccess && outcome->text() == sent.answer;
    if (right) {
      watch_.checked.fetch_add(1);
    } else if (strict_) {
      fail(watch_, outcome ? std::string("outcome ") + outcome_name(outcome->code) + " '" +
                                 std::string(outcome->text()) + "' instead of '" + sent.answer + "'"
                           : "wait: " + outcome.error().text);
    } else {
      watch_.mistakes.fetch_add(1);
    }
  }

  ProducerOptions options_;
  std::uint64_t mark_;
  bool strict_;
  Watch& watch_;
  std::mt19937_64 random_;
  std::optional<Producer> producer_;
  std::deque<Sent> outstanding_;
  std::uint64_t number_ = 0;
};

int consume(Consumer& consumer, Watch& watch, unsigned pause_us) {
  while (!watch.stop.load()) {
    Result<std::optional<Delivery>> taken = consumer.take(soon(milliseconds(50)));
    if (!taken) {
      fail(watch, "take: " + taken.error().text);
      return 1;
    }
    if (!*taken) {
      continue;
    }
    const std::string answer = honest_answer((*taken)->payload);
    if (answer == "torn") {
      fail(watch, "a payload is not as it was sent");
    }
    (answer.empty() ? watch.foreign : watch.checked).fetch_add(1);
    if (pause_us != 0) {
      const timespec pause{0, static_cast<long>(pause_us) * 1000};
      ::ppoll(nullptr, 0, &pause, nullptr);
    }
    const Answer said = answer.empty() ? Answer{AckStatus::kFailed, "not one of ours", {}}
                                       : Answer{AckStatus::kSuccess, answer, {}};
    // Its link may have been closed for a violation meanwhile; an honest one's is not.
    if (const Result<void> acked = consumer.ack(**taken, said); !acked && !answer.empty()) {
      fail(watch, "ack: " + acked.error().text);
    }
  }
  return 0;
}

}  // namespace

Watch* shared_watch() {
  void* page =
      ::mmap(nullptr, sizeof(Watch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    std::abort();
  }
  return new (page) Watch;
}

std::vector<std::byte> honest_payload(std::uint64_t mark, std::uint64_t number, std::size_t bytes) {
  const Head head{kMagic, mark, number, bytes};
  std::vector<std::byte> payload(bytes);
  std::memcpy(payload.data(), &head, sizeof(head));
  for (std::size_t i = sizeof(head); i < bytes; ++i) {
    payload[i] = byte_at(head, i);
  }
  return payload;
}

std::string honest_answer(std::span<const std::byte> payload) {
  Head head{};
  std::uint64_t sum = 0;
  for (const std::byte byte : payload) {  // Also of a stranger's: each byte is touched.
    sum = mixed(sum ^ std::to_integer<std::uint64_t>(byte));
  }
  if (payload.size() < sizeof(head)) {
    return "";
  }
  std::memcpy(&head, payload.data(), sizeof(head));
  if (head.magic != kMagic) {
    return "";
  }
  bool whole = head.bytes == payload.size();
  for (std::size_t i = sizeof(head); whole && i < payload.size(); ++i) {
    whole = payload[i] == byte_at(head, i);
  }
  return whole ? std::to_string(head.mark) + ":" + std::to_string(head.number) + ":" +
                     std::to_string(sum)
               : "torn";
}

Bystander Bystander::producer(const process_test::Bus& bus, const std::string& queue,
                              std::uint64_t mark, bool strict) {
  Watch* watch = shared_watch();
  ProducerOptions options = bus.producer_options();
  options.queue = queue;
  options.client = "bystander";
  return {"producer " + std::to_string(mark) + " of " + queue, watch,
          Helper([=](const Channel&) { return Sender(options, mark, strict, *watch).run(); })};
}

Bystander Bystander::consumer(const process_test::Bus& bus, const std::string& queue,
                              unsigned pause_us) {
  Watch* watch = shared_watch();
  ConsumerOptions options = bus.consumer_options();
  options.queue = queue;
  options.client = "bystander";
  return {"consumer of " + queue, watch,
          Helper::consume(options, [=](Consumer& consumer, const Channel&) {
            return consume(consumer, *watch, pause_us);
          })};
}

void Bystander::finish() {
  watch_->stop.store(true);
  const std::optional<process_test::ProcessEnd> end = helper_.child.wait(seconds(90));
  ASSERT_TRUE(end) << name_ << " hangs";
  EXPECT_EQ(end->signal_number, 0) << name_ << " crashed";
  EXPECT_EQ(end->exit_status, 0) << name_;
  EXPECT_EQ(watch_->failures.load(), 0U) << name_ << ": " << watch_->why;
}

}  // namespace ackbus::hostile
