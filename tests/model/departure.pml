/* A producer dies: what it committed is delivered or decided, and the link's memory goes with the last of it. As delivery.pml, whose header says what is
   shared, with KILLP=1: Bus::producer_lost(), end_link_if_final(), LinkTracker::all_final(). */
#include "protocol/world.pml"
