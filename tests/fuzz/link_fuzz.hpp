// One link with a hostile peer: the input drives honest roles through the test's link world, and
// between their calls, and between any two of their reads, words of one segment are overwritten the
// way its writer could. Data flow: input -> operations and strikes -> LinkWorld; after each step
// what the honest roles took is checked. Virtual time, one thread.
#pragma once

#include "tests/fuzz/input.hpp"

namespace ackbus::fuzz {

// Whose segment is overwritten. Nobody else's is, and who writes it is trusted with nothing.
enum class Hostile { kSubmission, kAck, kTracking };

void run_link(Input& input, Hostile hostile);

}  // namespace ackbus::fuzz
