/* Sleeping and waking: a producer, a consumer's life and the next, the daemon and the next, one link. Memory is that of x86: each process has a buffer of
   its latest stores, which others see later; a fence waits until it is empty; a system call does not empty it; what a dead process had stored still
   arrives. Waits have no deadline here, so a bell that is not rung is a sleeper for ever. 3 messages, 2 places outstanding.
   Leaves out: what messages mean (delivery.pml), spinning, a full pipe beyond PIPE bytes (it counts as rung), threads of one producer, and an application that polls the
   completion descriptor itself.
   Checked: when nothing moves any more, nobody who lives has left anything untaken that was published for him. Every run is finite.

   Producer   ProducerCore::send(), ring(), reap(), sleep(), arm_and_look(), read_control(); ProducerLink::must_ring(), has_work(), follow_epoch()
   Consumer   ConsumerCore::take(), arm_and_look(), ring(), read_control(), add_link(); ConsumerLink::must_ring(), has_work()
   Daemon     LinkTracker::announce(), place_redelivery(), intervene(), move_epoch(), recover(); Bus::ring_all(), finish_hand_over(), life_mapped(), tell_life() */
#ifndef NSEQ
#define NSEQ 3
#endif
#ifndef KILLC
#define KILLC 1
#endif
#ifndef KILLD
#define KILLD 0
#endif
#ifndef VERDICTS
#define VERDICTS 1         /* verdicts that the daemon announces, and redeliveries that it places */
#endif
#ifndef BUFFER
#define BUFFER 1           /* stores that a process may have under way */
#endif
#ifndef PIPE
#define PIPE 2
#endif
/* rules; 0 takes one away */
#ifndef FENCE_WRITER
#define FENCE_WRITER 1     /* [F2] between publishing and the look at `sleeping` */
#endif
#ifndef FENCE_SLEEPER
#define FENCE_SLEEPER 1    /* [F2] between `sleeping` and the last look */
#endif
#ifndef FENCE_DAEMON
#define FENCE_DAEMON 1     /* between publishing and the message on the socket */
#endif
#ifndef EMPTY_FIRST
#define EMPTY_FIRST 1      /* pipes and socket are emptied before arming; 0: after the last look */
#endif
#ifndef GENERATIONS
#define GENERATIONS 1      /* `sleeping` is a new generation each time; 0: a flag */
#endif
#ifndef RING_AT_DEATH
#define RING_AT_DEATH 1    /* who learns of a death rings everybody */
#endif
#ifndef RING_AT_START
#define RING_AT_START 1    /* a new daemon rings everybody */
#endif
#ifndef RING_MAPPED
#define RING_MAPPED 1      /* when the producer was told of a life, its consumer is rung */
#endif
#ifndef FORGET_RUNG
#define FORGET_RUNG 1      /* the last rung generation is forgotten with the life */
#endif

/* words of shared memory, each with one writer */
#define SUB 0              /* main ring: greatest number */
#define PSLEEP 1           /* SubmissionWords::sleeping */
#define ACK(l) (1+(l))     /* 2, 3: ack ring of a life */
#define CSLEEP(l) (3+(l))  /* 4, 5: AckWords::sleeping of a life */
#define EPOCH 6
#define VER 7              /* verdict ring */
#define RED 8              /* redelivery ring */
byte mem[9];
chan buffer[5] = [BUFFER] of { byte, byte };  /* 0 producer, 1 and 2 the lives, 3 and 4 the daemons */
#define STORE(p, a, v) buffer[p]!a,v
#define FENCED(p) empty(buffer[p])
/* the kernel */
byte pipec[3], pipep;      /* to the consumer of a life, to the producer */
bit sockp, sockc[3];       /* something lies in a control socket */
bit lifemsg, addmsg, mapped;  /* ... which may be this: Life, AddLink, Mapped */
bit dead[5]; byte kc, kd;
chan killc = [0] of { bit };
chan killd = [0] of { bit };
/* for the check */
byte sent, got, gotv, gotr, front=1, known=1; bit lives2;

proctype Drain() { byte a, v;
  end_drain: do
  :: d_step { buffer[0]?a,v -> mem[a]=v; a=0; v=0 }
  :: d_step { buffer[1]?a,v -> mem[a]=v; a=0; v=0 }
  :: d_step { buffer[2]?a,v -> mem[a]=v; a=0; v=0 }
  :: d_step { buffer[3]?a,v -> mem[a]=v; a=0; v=0 }
  :: d_step { buffer[4]?a,v -> mem[a]=v; a=0; v=0 }
  od
}
#define RING(pipe) if :: pipe<PIPE -> pipe++ :: else fi
#define GENERATION(g) (GENERATIONS -> (g)+1 : 1)
/* must_ring(): fence, look, once per generation; in one step, since the own buffer stays empty meanwhile */
inline ring_consumer() {
  if :: mem[EPOCH]>known -> read_control() :: else fi;
  atomic { !FENCE_WRITER || FENCED(0);
    if
    :: mem[EPOCH]>known -> skip /* awaits_life(): that life looks for itself */
    :: else -> g=mem[CSLEEP(known)];
       if :: g!=0 && g!=rung -> rung=g; RING(pipec[known]) :: g==0 && !GENERATIONS -> rung=0 :: else fi; g=0
    fi }
}
inline read_control() { d_step { sockp=0; if :: lifemsg -> lifemsg=0; known=2; if :: FORGET_RUNG -> rung=0 :: else fi :: else fi } }
#define MOREACKS (mem[ACK(front)]>taken)
#define MOREVERDICTS (mem[VER]>gotv)
#define SWITCHES (mem[EPOCH]>front && known>front && !MOREACKS)
proctype Producer() { byte g, gen, rung, taken; bit heard;
  do
  :: sent<NSEQ && sent-got<2 ->
dosend: atomic { len(buffer[0])<BUFFER -> sent++; STORE(0, SUB, sent) } ring_consumer()
  :: d_step { MOREACKS -> taken++; got++ }
  :: d_step { MOREVERDICTS -> gotv++ }
  :: d_step { SWITCHES -> front=2; taken=0 } ring_consumer()
  :: !MOREACKS && !MOREVERDICTS && !SWITCHES -> /* arm_and_look() */
     if :: EMPTY_FIRST -> d_step { pipep=0; heard=sockp; sockp=0; if :: lifemsg -> lifemsg=0; known=2; if :: FORGET_RUNG -> rung=0 :: else fi :: else fi } :: else fi;
     atomic { len(buffer[0])<BUFFER -> gen=GENERATION(gen); STORE(0, PSLEEP, gen) }
     !FENCE_SLEEPER || FENCED(0);
     if
     :: heard || MOREACKS || MOREVERDICTS || SWITCHES -> heard=0
     :: else ->
        if :: !EMPTY_FIRST -> d_step { pipep=0; sockp=0; if :: lifemsg -> lifemsg=0; known=2; rung=0 :: else fi } :: else fi;
        end_sleep: if :: pipep!=0 || sockp :: sent<NSEQ && sent-got<2 -> goto dosend fi
     fi
  od
}
#define WORK (mem[SUB]>done || mem[RED]>gotr)
proctype Consumer(byte life) { byte g, gen, rung, done; bit heard;
  { if
    :: life==1
    :: life==2 -> end_wait: addmsg -> d_step { addmsg=0; sockc[2]=0; lives2=1; done=mem[ACK(1)]; mapped=1 } /* add_link(), say_mapped() */
    fi;
    do
    :: atomic { mem[SUB]>done && len(buffer[life])<BUFFER -> done++; STORE(life, ACK(life), (life==1 -> done : done-mem[ACK(1)])) }
       atomic { !FENCE_WRITER || FENCED(life); g=mem[PSLEEP];
         if :: g!=0 && g!=rung -> rung=g; RING(pipep) :: g==0 && !GENERATIONS -> rung=0 :: else fi; g=0 }
    :: d_step { mem[RED]>gotr -> gotr++ }
    :: !WORK -> /* arm_and_look() */
       if :: EMPTY_FIRST -> d_step { pipec[life]=0; heard=sockc[life]; sockc[life]=0 } :: else fi;
       atomic { len(buffer[life])<BUFFER -> gen=GENERATION(gen); STORE(life, CSLEEP(life), gen) }
       !FENCE_SLEEPER || FENCED(life);
       if
       :: heard || WORK -> heard=0
       :: else ->
          if :: !EMPTY_FIRST -> d_step { pipec[life]=0; sockc[life]=0 } :: else fi;
          end_sleep: pipec[life]!=0 || sockc[life]
       fi
    od } unless { atomic { killc?0 -> dead[life]=1 } }
}
#define DFENCED(p) (!FENCE_DAEMON || FENCED(p))
#define RINGALL sockp=1; sockc[1]=1; if :: lives2 -> sockc[2]=1 :: else fi
proctype Daemon(byte p) { bit saw;
  { if
    :: p==4 -> end_wait: dead[3] && FENCED(3); if :: RING_AT_START -> d_step { RINGALL } :: else fi;
       if :: mem[EPOCH]==2 && !lives2 -> d_step { addmsg=1; sockc[2]=1 } :: mem[EPOCH]==2 && lives2 -> mapped=1 :: else fi
    :: p==3
    fi;
    end_loop: do
    :: atomic { mem[VER]<VERDICTS && len(buffer[p])==0 -> STORE(p, VER, mem[VER]+1) } atomic { DFENCED(p) -> sockp=1 }
    :: atomic { mem[RED]<VERDICTS && len(buffer[p])==0 -> STORE(p, RED, mem[RED]+1) } atomic { DFENCED(p) -> if :: lives2 -> sockc[2]=1 :: else -> sockc[1]=1 fi }
    :: dead[1] && FENCED(1) && mem[EPOCH]==1 && !saw && len(buffer[p])==0 -> saw=1; /* consumer_ended(), finish_hand_over() */
       if :: RING_AT_DEATH -> d_step { RINGALL } :: else fi;
       STORE(p, EPOCH, 2); FENCED(p); /* the barrier of intervene() */
       if :: RING_AT_DEATH -> sockp=1 :: else fi;
       d_step { addmsg=1; sockc[2]=1 }
    :: mapped -> mapped=0; d_step { lifemsg=1; sockp=1 } if :: RING_MAPPED -> sockc[2]=1 :: else fi /* life_mapped() */
    od } unless { atomic { killd?0 -> dead[3]=1 } }
}
proctype Killer() {
  end_killer: do
  :: atomic { kc>0 -> kc--; killc!0 }
  :: atomic { kd>0 -> kd--; killd!0 }
  od
}
proctype Monitor() {
  timeout -> d_step {
    assert(sent==NSEQ);
    assert(gotv==mem[VER] && gotr==mem[RED]);
    assert(got==NSEQ);
    assert(front==mem[EPOCH]) }
}
init { atomic {
  mem[EPOCH]=1;
  if :: kc=0 :: KILLC>0 -> kc=1 fi;
  if :: kd=0 :: KILLD>0 -> kd=1 fi;
  run Drain(); run Producer(); run Consumer(1);
  if :: KILLC>0 -> run Consumer(2) :: else fi;
  run Daemon(3);
  if :: KILLD>0 -> run Daemon(4) :: else fi;
  run Killer(); run Monitor() } }
