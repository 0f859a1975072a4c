/* Messages that nobody begins: max_wait and its withdrawal, and clock = "commit". As delivery.pml, whose header says what is shared, with MAXWAIT=1 or
   COMMITCLOCK=1: LinkTracker::examine_unbegun(), end_undelivered(), withdraw_undelivered(), examine_answered(), examine_waiting(). */
#include "protocol/world.pml"
