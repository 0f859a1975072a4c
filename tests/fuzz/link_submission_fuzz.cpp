// A hostile producer against the consumer and the daemon: every word of its segment, places,
// descriptors, payloads, counters, changed also between two reads. Data flow and checks:
// link_fuzz.hpp. One thread.
#include "tests/fuzz/link_fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ackbus::fuzz::Input input(data, size);
  ackbus::fuzz::run_link(input, ackbus::fuzz::Hostile::kSubmission);
  return 0;
}
