// A consumer of a chaos run: checks every payload, does what it wishes, and writes down what it
// begins and answers. Messages that shall outlast their timeout are held aside while others go on.
#include <unistd.h>

#include <ackbus/consumer.hpp>
#include <cstdio>
#include <vector>

#include "tests/chaos/journal.hpp"
#include "tests/chaos/message.hpp"
#include "tests/chaos/roles.hpp"

namespace ackbus::chaos {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Held {
  Delivery delivery;
  Record record;
  Deadline due;
};

class ConsumerRole {
 public:
  explicit ConsumerRole(const RoleArguments& arguments)
      : control_(open_control_page(arguments.folder)),
        journal_(journal_path(arguments)),
        consumer_(connect(arguments)),
        random_(arguments.seed * 31 + arguments.index * 1009 + arguments.incarnation) {}

  int run() {
    while (!held_.empty() || control_.phase != static_cast<std::uint32_t>(Phase::kGoodbye)) {
      Deadline deadline = steady_clock::now() + milliseconds(20);
      for (const Held& held : held_) {
        deadline = std::min(deadline, held.due);
      }
      Result<std::optional<Delivery>> taken = consumer_.take(deadline);
      if (!taken) {
        std::fprintf(stderr, "consumer: take: %s\n", taken.error().text.c_str());
        return 3;
      }
      if (consumer_.active()) {
        control_.active_consumer = static_cast<std::uint32_t>(::getpid());
      }
      if (*taken) {
        begin(**taken);
      }
      answer_held();
    }
    return 0;
  }

 private:
  static Consumer connect(const RoleArguments& arguments) {
    ConsumerOptions options;
    options.runtime_dir = arguments.folder + "/run";
    options.queue = kWorkQueue;
    options.client = "chaos-consumer-" + std::to_string(arguments.index);
    options.max_running = 128;
    for (;;) {
      Result<Consumer> consumer = Consumer::connect(options);
      if (consumer) {
        return std::move(consumer).value();
      }
      pause_ms(5);
    }
  }

  void note(Record record, Entry entry) {
    record.entry = entry;
    journal_.write(record);
  }

  void begin(const Delivery& delivery) {
    Record record;
    record.kind = static_cast<std::uint16_t>(delivery.kind);
    record.attempt = delivery.attempt;
    record.sequence = delivery.sequence;
    record.epoch = consumer_.statistics().epoch;
    record.extra = delivery.link;
    record.key = delivery.key;
    record.code = delivery.tracked ? 1 : 0;
    const std::optional<Body> body = check_payload(delivery.payload);
    if (!body || body->kind != record.kind) {
      note(record, Entry::kWrong);
      [[maybe_unused]] const auto answered = consumer_.ack(delivery, {AckStatus::kFailed, "", {}});
      return;
    }
    record.producer = body->producer;
    record.incarnation = body->incarnation;
    record.number = body->number;
    note(record, Entry::kBegun);
    do_as_wished(delivery, record, *body);
  }

  void do_as_wished(const Delivery& delivery, const Record& record, const Body& body) {
    switch (body.wish) {
      case Wish::kGiveBack:
        delivery.attempt <= body.times ? give_back(delivery, record)
                                       : answer(delivery, record, AckStatus::kSuccess);
        return;
      case Wish::kAlwaysGiveBack:
        give_back(delivery, record);
        return;
      case Wish::kSucceedInPart:
        answer(delivery, record, AckStatus::kPartialSuccess);
        return;
      case Wish::kFail:
        answer(delivery, record, AckStatus::kFailed);
        return;
      case Wish::kReportProgress:
        report_progress(delivery, record);
        return;
      case Wish::kOutlastTimeout:
        hold(delivery, record, kQuickTimeoutMs + 2 * kBackoffMs + 3);
        return;
      case Wish::kOutlastRetries:
        hold(delivery, record,
             static_cast<std::uint32_t>(2 * kQuickTimeoutMs + kBackoffMs + random_() % 150));
        return;
      case Wish::kSucceed:
      case Wish::kReserved:
        answer(delivery, record, AckStatus::kSuccess);
        return;
    }
  }

  void report_progress(const Delivery& delivery, const Record& record) {
    [[maybe_unused]] const auto said = consumer_.progress(delivery, 0);
    note(record, Entry::kProgress);
    hold(delivery, record, 5);
  }

  void hold(const Delivery& delivery, const Record& record, std::uint32_t for_ms) {
    held_.push_back({delivery, record, steady_clock::now() + milliseconds(for_ms)});
  }

  void answer_held() {
    const Deadline now = steady_clock::now();
    for (std::size_t i = 0; i < held_.size();) {
      if (held_[i].due > now) {
        ++i;
        continue;
      }
      const Held held = held_[i];
      held_[i] = held_.back();
      held_.pop_back();
      answer(held.delivery, held.record, AckStatus::kSuccess);
    }
  }

  void answer(const Delivery& delivery, Record record, AckStatus status) {
    record.code = static_cast<std::uint8_t>(status);
    note(record, Entry::kAcking);
    const std::vector<std::pair<std::string, std::string>> metadata{{"life", "chaos"}};
    Answer answer;
    answer.status = status;
    if (status != AckStatus::kSuccess) {
      answer.text = "as the message wished";
      answer.metadata = metadata;
    }
    const Result<void> acked = consumer_.ack(delivery, answer);
    note(record, acked ? Entry::kAcked : Entry::kRefused);
  }

  void give_back(const Delivery& delivery, const Record& record) {
    note(record, Entry::kNacking);
    const Result<void> given = consumer_.nack(delivery, milliseconds(1));
    note(record, given ? Entry::kNacked : Entry::kRefused);
  }

  ControlPage& control_;
  Journal journal_;
  Consumer consumer_;
  std::mt19937_64 random_;
  std::vector<Held> held_;
};

}  // namespace

int run_consumer(const RoleArguments& arguments) { return ConsumerRole(arguments).run(); }

}  // namespace ackbus::chaos
