/* Answers that are not final: nack and Retrying, in one mark, and max_age. As delivery.pml, whose header says what is shared, with NACK or RETRYING messages
   marked: ConsumerLink::give_back(), progress(), LinkTracker::examine_begun(), attempt_over(). */
#include "protocol/world.pml"
