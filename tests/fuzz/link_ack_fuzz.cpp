// A hostile consumer against the producer and the daemon, hand-over included: records, places,
// marks, cursors, texts, the supersede table, changed also between two reads. Data flow and
// checks: link_fuzz.hpp. One thread.
#include "tests/fuzz/link_fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ackbus::fuzz::Input input(data, size);
  ackbus::fuzz::run_link(input, ackbus::fuzz::Hostile::kAck);
  return 0;
}
