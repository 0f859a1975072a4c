/* Delivery: messages, answers, deadlines, retries, verdicts with their letters, slots used again, hand-overs to two and three lives; the death of consumers
   and of the daemon, at the same time too. What all link models share (processes, the product's function for each, what they leave out, how the daemon dies) is
   in protocol/: rules.pml has the sizes and the rules, world.pml what is checked.
   Leaves out: records torn while they are read (the seqlocks are [E1] to [E10] of docs/memory-model.md), memory weaker than sequentially consistent, sleeping
   (wake.pml), several links, time: a deadline may pass whenever its clock runs.
   Bounds: 2 slots, NSEQ messages, KILLC + 1 lives, KILLD deaths of the daemon, MAXR retries, DEADLINES deadlines that pass. */
#include "protocol/world.pml"
