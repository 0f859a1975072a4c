// A tracking segment of any content against the producer and the consumer: entries, verdicts,
// redeliveries, epoch, changed also between two reads. Data flow and checks: link_fuzz.hpp. One
// thread.
#include "tests/fuzz/link_fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ackbus::fuzz::Input input(data, size);
  ackbus::fuzz::run_link(input, ackbus::fuzz::Hostile::kTracking);
  return 0;
}
