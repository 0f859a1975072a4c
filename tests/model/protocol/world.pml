/* All of a link: the processes, their deaths, and what must be true when nothing can move any more. Every run is finite: messages, attempts,
   deaths, nacks and reports are bounded and nothing is done twice without one of them. So what a run ends with says what a fair
   scheduler leads to, whatever it does, and a message without its outcome at an end is one that waits for ever. */
#include "rules.pml"
#include "memory.pml"
#if POISON
byte ralone[NS];        /* kRedeliverAlone: the sequence of the slot that is to run alone */
#endif
#include "producer.pml"
#include "consumer.pml"
#include "daemon.pml"

/* Who dies is drawn at the start, when is not. */
proctype Killer() {
  end_killer: do
  :: atomic { kc>0 && !pdone && !removed && go[dead+1] && qlife==dead+1 -> kc--; killc!0 }
#if FINE
  :: atomic { kd>0 && !pdone -> killd!0 }
#endif
  :: atomic { kp>0 && !pdone -> kp--; killp!0 }
  od
}
/* what a lost producer had committed was run, or decided with a letter */
#define DELIVERED(i) assert(pm[i]==0 || pub<desc[i] || dout[i]!=0 || dl[desc[i]]!=0 || (ranever & BIT(desc[i])))
proctype Monitor() {
  byte k=1;
  timeout -> d_step {
    assert(pdone || plost);
    assert(!plost || pdone || removed); /* the memory of a lost producer's link is free */
    do
    :: k<=NSEQ ->
#if LETTER_WAIT
       assert(!pdone || dl[k]==0); /* a letter of a message that was over, see free_slot() */
#else
       assert(!pdone || k==UNTRACKED || outcome[k]!=OK || dl[k]!=1);
#endif
       k++
    :: else -> break
    od;
    if :: plost && !pdone -> DELIVERED(0); DELIVERED(1) :: else fi }
}
init {
  atomic {
    start[1]=1; rstart[1]=1; A[0].cur=1; A[0].rcur=1; go[1]=1; told[1]=1;
    if :: kc=0 :: KILLC>0 -> kc=1 :: KILLC>1 -> kc=2 fi;
    if :: kd=0 :: KILLD>0 -> kd=1 fi;
    if :: kp=0 :: KILLP>0 -> kp=1 fi;
    run Producer(); run Consumer(); run Daemon();
    if :: KILLC+KILLD+KILLP>0 -> run Killer() :: else fi;
    run Monitor()
  }
}
