// For the few functions that every message passes, on both sides of the link. Inlined by order,
// because the compiler counts what they would cost everywhere and not what they save here; measured
// in docs/performance.md. Everything rare on these paths is a function of its own, out of line.
#pragma once

#define ACKBUS_HOT [[gnu::always_inline]] inline
