/* What becomes of a message beside its delivery: cancel, supersede, after, untracked, poison. As delivery.pml, whose header says what is shared:
   ConsumerLink::skips_unbegun(), superseded(), key_busy(), held(), LinkTracker::settle_ended_life(), redeliver(). */
#include "protocol/world.pml"
