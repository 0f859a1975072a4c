// A producer of a chaos run: an open loop at its rate, bounded by its slots, of messages of all
// kinds and wishes.
#include "tests/chaos/producer_handle.hpp"

namespace ackbus::chaos {

int run_producer(const RoleArguments& arguments) {
  ControlPage& control = open_control_page(arguments.folder);
  ProducerHandle producer(arguments, kWorkQueue);
  std::mt19937_64 random(arguments.seed * 1'000'003 + arguments.index * 7919 +
                         arguments.incarnation);
  const std::chrono::nanoseconds interval(1'000'000'000 / std::max(arguments.rate, 1U));
  Deadline next = std::chrono::steady_clock::now();
  Ticket last;
  while (control.phase == static_cast<std::uint32_t>(Phase::kLoad)) {
    Plan plan = next_plan(random);
    if (plan.after) {
      plan.options.after_sequence = last.sequence;
    }
    const std::vector<std::byte> payload =
        make_payload(plan, arguments.index, arguments.incarnation, producer.next_number());
    if (plan.tracked) {
      const Ticket ticket = producer.send(plan, payload, random() % 2 == 0);
      last = ticket.sequence != 0 ? ticket : last;
      if (plan.cancel && ticket.sequence != 0) {
        producer.cancel(ticket);
      }
    } else {
      producer.post(plan, payload);
    }
    next = std::max(next + interval, std::chrono::steady_clock::now() - 8 * interval);
    producer.take_until(next);
  }
  return producer.finish() ? 0 : 3;
}

}  // namespace ackbus::chaos
