/* The memory of the bus is lost, whole or in part: systemd's store was emptied, or did not keep some descriptors. Covers: daemons that die
   between any two of their steps here and find all, nothing, or some of what they had; producers that find their link again or are refused it; consumers
   that start over; a consumer's death beside it. 2 slots, 3 messages, KILLC + 1 consumers, LOSSES daemons that die.
   Leaves out: everything that happens on a link while it lives (delivery.pml), quotas, and a daemon that never comes back.
   Checked: nobody waits for ever: every run ends with each message answered or Closed, and with what was sent last delivered by the daemon that came
   last. Every run is finite; see protocol/world.pml.

   Producer   ProducerCore::send(), reap(), lose_control(), try_reattach(), handle_reattach(), adopt_link(); ProducerLink::close_all()
   Consumer   ConsumerCore::take(), ack(), lose_control(), try_reconnect(), add_link()
   Daemon     Bus::start_fresh(), recover(), recover_connections(), recover_link(), resume_link(), request_link(), grant_link(), consumer_arrived() */
#ifndef NSEQ
#define NSEQ 3
#endif
#ifndef KILLC
#define KILLC 1
#endif
#ifndef LOSSES
#define LOSSES 2
#endif
/* rules; 0 takes one away */
#ifndef REFUSE_UNKNOWN
#define REFUSE_UNKNOWN 1   /* a token that the daemon does not know is refused as unknown; 0: the client is left to wait */
#endif
#ifndef CLOSE_PENDING
#define CLOSE_PENDING 1    /* what is pending on a lost link ends Closed{unknown} */
#endif
#ifndef HANG_UP_UNLINKED
#define HANG_UP_UNLINKED 1 /* a producer whose link's memory was lost, though not its socket, is hung up on */
#endif
#ifndef STORED_FIRST
#define STORED_FIRST 1     /* a link is in the store before its producer is answered */
#endif
#ifndef START_OVER
#define START_OVER 1       /* a consumer that lost its socket says hello again */
#endif
#ifndef PATIENCE
#define PATIENCE 1         /* a producer that gets no answer to its hello hangs up and says it again */
#endif

byte linkof[NSEQ+1];       /* the link that a message was committed on */
byte out[NSEQ+1];          /* 0 pending, 1 answered, 2 Closed{unknown} */
bit acked[NSEQ+1];         /* in that link's ack segment */
byte plink, dlink, rec, next=1; /* the producer's link; the one that the daemon holds; the one in its books; the next number */
byte clink;                /* the link that the consumer serves */
bit psock, csock;          /* the two control sockets hold */
bit hello, fresh;          /* the producer's hello lies in its socket: with a token, without */
byte granted; bit refused; /* and what lies there for the producer */
bit serving=1;             /* a daemon answers */
byte to;                   /* the link that the daemon is making */
byte sent, losses, kills; bit pdone;

proctype Producer() {
  byte k=1; bit asked;
  do
  :: d_step { sent<NSEQ && plink!=0 && (sent<2 || out[sent-1]!=0) -> sent++; linkof[sent]=plink } /* with or without a daemon */
  :: d_step { k<=sent && out[k]==0 && acked[k] && linkof[k]==plink -> out[k]=1 }
  :: d_step { k<=sent && out[k]!=0 -> k++ }
  :: d_step { !psock && serving && !asked -> asked=1; psock=1; hello=(plink!=0); fresh=(plink==0); granted=0; refused=0 } /* try_reattach() */
  :: d_step { asked && !psock -> asked=0; hello=0; fresh=0; granted=0; refused=0 } /* hung up meanwhile */
  :: d_step { PATIENCE && asked && psock && serving && !hello && !fresh && granted==0 && !refused && to==0 -> psock=0 } /* nothing comes */
  :: d_step { psock && granted!=0 -> plink=granted; granted=0; asked=0 } /* adopt_link() */
  :: d_step { psock && refused -> refused=0; asked=0; psock=0; /* kUnknownLink */
       if :: CLOSE_PENDING ->
          if :: sent>=1 && out[1]==0 && linkof[1]==plink -> out[1]=2 :: else fi;
          if :: sent>=2 && out[2]==0 && linkof[2]==plink -> out[2]=2 :: else fi;
          if :: sent>=NSEQ && out[NSEQ]==0 && linkof[NSEQ]==plink -> out[NSEQ]=2 :: else fi
       :: else fi;
       plink=0 }
  :: k>NSEQ -> pdone=1; break
  od
}
/* Consumers, one after the other: each serves the link that it was given until it notices that its socket is gone. */
#define NEXT(k) (k<=sent && clink!=0 && linkof[k]==clink && !acked[k] && (k==1 || acked[k-1] || linkof[k-1]!=clink))
proctype Consumer() {
  end_take: do
  :: d_step { NEXT(1) -> acked[1]=1 }
  :: d_step { NEXT(2) -> acked[2]=1 }
  :: d_step { NEXT(NSEQ) -> acked[NSEQ]=1 }
  :: d_step { !csock && serving && START_OVER -> csock=1; clink=0 } /* lose_control(), try_reconnect(), say_hello() */
  :: d_step { kills>0 && !pdone && clink!=0 -> kills--; csock=0; clink=0 } /* it dies; the next one connects; what was begun is redelivered */
  od
}
inline lose() {
  d_step { losses--; serving=0; to=0 }
  if /* what the next one finds */
  :: skip                                     /* all */
  :: d_step { dlink=0; rec=0; psock=0; csock=0 } /* nothing: start_fresh() */
  :: dlink=0                                  /* the sockets, but not the link's memory */
  :: psock=0                                  /* all but the producer's socket */
  :: csock=0                                  /* all but the consumer's: recover_connections() */
  fi;
  d_step { serving=1;
    if :: HANG_UP_UNLINKED && rec!=0 && dlink==0 -> psock=0; rec=0 :: else fi } /* recover_link() */
}
proctype Daemon() {
  end_loop: do
  :: d_step { serving && csock && dlink!=0 && clink!=dlink -> clink=dlink } /* send_add_link() */
  :: d_step { serving && psock && hello -> hello=0; /* resume_link() */
       if
       :: plink==dlink -> granted=plink
       :: plink!=dlink && REFUSE_UNKNOWN -> refused=1
       :: else
       fi }
  :: d_step { serving && psock && fresh -> fresh=0; to=next; next++; /* request_link(), grant_link() */
       if :: STORED_FIRST -> dlink=to; rec=to :: else -> granted=to fi }
     if
     :: d_step { STORED_FIRST && to!=0 -> granted=to; to=0 }
     :: d_step { !STORED_FIRST && to!=0 -> dlink=to; rec=to; to=0 }
     :: losses>0 && !pdone -> lose()
     fi
  :: losses>0 && !pdone -> lose()
  od
}
proctype Monitor() { timeout -> assert(pdone) }
init { atomic {
  plink=1; dlink=1; rec=1; clink=1; next=2; psock=1; csock=1;
  if :: losses=0 :: losses=1 :: LOSSES>1 -> losses=2 fi;
  if :: kills=0 :: KILLC>0 -> kills=1 fi;
  run Producer(); run Consumer(); run Daemon(); run Monitor() } }
