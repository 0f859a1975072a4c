/* The books of a queue's lives: what the daemon stores, in which order, when a life is handed over, said to be mapped, drained; and what a new
   daemon makes of it. Covers: the daemon dying between any two of these stores, as often as KILLD says; KILLC consumers dying one after the other, also before
   they mapped anything; packets that lie unread in a kept socket; a producer that follows lives which may be skipped. 2 slots, 3 messages.
   Leaves out: retries and verdicts (delivery.pml): a message is read, answered in the record, announced on the ring, reaped.
   Checked: no message is answered in two lives, main and ack rings never lap their readers, every answer reaches the producer, every run ends with all of it
   reaped. Every run is finite; see protocol/world.pml.

   Producer    ProducerLink::commit(), take_acks(), scan_records(), follow_epoch(), ProducerCore::accept_life(), retire_lives()
   Consumer    ConsumerCore::add_link(), say_mapped(); ConsumerLink::next_main(), answer()
   Daemon      Bus::activate_next(), finish_hand_over(), send_add_link(), life_mapped(), life_drained(), recover_lives(), resume_queue();
               LinkTracker::hand_over_start(), settle_ended_life() */
#ifndef NSEQ
#define NSEQ 3
#endif
#ifndef KILLC
#define KILLC 2
#endif
#ifndef KILLD
#define KILLD 1
#endif
#define NL (KILLC+1)
#define NS 2
/* rules; 0 takes one away */
#ifndef KEEP_READ_LIFE
#define KEEP_READ_LIFE 1  /* a life that the daemon reads is kept for its producer, said mapped or not */
#endif
#ifndef DROP_DOUBLE
#define DROP_DOUBLE 1     /* a life that stands in the books twice, in force and old, is in force */
#endif
#ifndef HALF_BACK
#define HALF_BACK 1       /* handed over halfway: the life that the epoch names is in force again */
#endif
#ifndef EPOCH_LAST
#define EPOCH_LAST 1      /* the epoch moves before anything of the life is handed to it */
#endif
#ifndef SOCKET_FIRST
#define SOCKET_FIRST 1    /* what lies unread in a socket is read before its hang-up counts */
#endif
#ifndef ADD_AGAIN
#define ADD_AGAIN 1       /* a new daemon sends AddLink again */
#endif
#ifndef TELL_AGAIN
#define TELL_AGAIN 1      /* a new daemon tells the producer of every life that it still holds */
#endif
#ifndef TELL_OLD
#define TELL_OLD 1        /* an ended life that the producer was not told of is told when the next one is handed over */
#endif

/* submission, ack segments, tracking words */
byte pub, slot_of[NSEQ+1], desc[NS];
typedef Ack { byte cur; byte acked[NS]; byte last; byte seq[NS]; };
Ack A[NL+1];
byte epoch=1, start[NL+1];
byte redo[NS];              /* redelivery ring, as far as it matters here */
bit answered[NSEQ+1];       /* for the check */
/* ledger: QueueRecord, LinkRecord */
byte qlife=1;               /* QueueRecord::epoch, with its active connection */
byte rlife=1; bit rmapped=1;  /* LinkRecord::life */
byte old[2];                /* LinkRecord::old_lives: epochs */
/* sockets and processes */
byte dead; bit go[NL+1], up, ask, told[NL+1];
byte drained;               /* a kDrained of that life lies unread */
bit pdone; byte kc, kd;
chan killc = [0] of { bit };
bit final[NSEQ+1];          /* entry says Final */

proctype Producer() {
  byte pe=1, an=1, nxt=1, i, s; bit scanned, used[NS];
  do
  :: d_step { nxt<=NSEQ && (!used[0] || !used[1]) -> i=(used[0] -> 1 : 0); used[i]=1; desc[i]=nxt; slot_of[nxt]=i; i=0 }
     d_step { pub=nxt; nxt++ }
  :: d_step { A[pe].last>=an -> assert(A[pe].last<an+NS); s=A[pe].seq[an%NS]; an++; used[slot_of[s]]=0; s=0 }
  :: d_step { !scanned && epoch>pe && A[pe].last<an ->
       if :: used[0] && A[pe].acked[0]==desc[0] -> used[0]=0 :: else fi;
       if :: used[1] && A[pe].acked[1]==desc[1] -> used[1]=0 :: else fi; scanned=1 }
  :: d_step { scanned && drained==0 && ((pe<NL && told[pe+1]) || (pe+1<NL && told[pe+2])) -> /* switch, retire_lives(), tell_drained() */
       drained=pe; pe=(told[pe+1] -> pe+1 : pe+2); an=1; scanned=0 }
  :: nxt>NSEQ && !used[0] && !used[1] -> pdone=1; break
  od
}
inline serve() {
  d_step { assert(desc[slot_of[s]]==s); assert(!answered[s]); answered[s]=1; A[L].acked[slot_of[s]]=s }
  d_step { A[L].last++; A[L].seq[A[L].last%NS]=s; s=0 }
}
proctype Consumer() {
  byte L=1, cn, s;
end_life:
  { {
    if :: d_step { go[L] -> up=1; ask=0; cn=start[L] } fi;
    end_take: do
    :: d_step { ask -> ask=0; up=1 }
    :: d_step { redo[0]!=0 -> s=redo[0]; redo[0]=0; if :: desc[0]!=s || A[L].acked[0]==s -> s=0 :: else fi } if :: s!=0 -> serve() :: else fi
    :: d_step { redo[1]!=0 -> s=redo[1]; redo[1]=0; if :: desc[1]!=s || A[L].acked[1]==s -> s=0 :: else fi } if :: s!=0 -> serve() :: else fi
    :: d_step { redo[0]==0 && redo[1]==0 && pub>=cn -> assert(pub<cn+NS); s=cn; cn++; A[L].cur=cn } serve()
    od } unless { atomic { killc?0 -> d_step { dead=L; L++; cn=0; s=0; ask=0 } } } };
  if :: L<=NL -> goto end_life :: else fi
}
#define DIE if :: skip :: kd>0 && !pdone -> goto died fi;
#define ACKED(i) (tl!=0 && desc[i]!=0 && A[tl].acked[i]==desc[i])
/* What the socket does not take waits in the daemon's memory (Connection::outgoing), and is lost with it. */
#define TELL(x) if :: told[x] || queued==x || queued2==x :: else -> \
    if :: queued==0 -> told[x]=1 :: queued==0 -> queued=x :: queued!=0 && queued2==0 -> queued2=x \
       :: queued2!=0 -> d_step { told[queued]=1; queued=queued2; queued2=x } fi fi
#define FINISH(i) if :: ACKED(i) && !final[desc[i]] -> final[desc[i]]=1 :: else fi;
#define REDELIVER(i) if :: desc[i]!=0 && pub>=desc[i] && desc[i]<st && !ACKED(i) && !final[desc[i]] -> redo[i]=desc[i] :: else fi;

proctype Daemon() {
  byte tl=1, lf=1, hl, st, o, queued, queued2; bit lm=1, reads=1;  /* tl: the tracker's life; lf: link.life, lm: mapped, reads: this daemon maps it */
boot:
  reads=0;
  atomic {
    if :: DROP_DOUBLE -> d_step { if :: old[0]==rlife -> old[0]=0 :: else fi; if :: old[1]==rlife -> old[1]=0 :: else fi } :: else fi;
    if /* recover_lives() */
    :: rlife==epoch && rlife!=0 && (old[0]==rlife || old[1]==rlife) -> lf=0; lm=0 /* its descriptor was taken for the old one */
    :: rlife==epoch && rlife!=0 && old[0]!=rlife && old[1]!=rlife -> lf=rlife; lm=rmapped; reads=1
    :: rlife>epoch && HALF_BACK && (old[0]==epoch || old[1]==epoch) ->
       rlife=epoch; rmapped=1; DIE
       if :: old[0]==epoch -> old[0]=0 :: else -> old[1]=0 fi;
       lf=epoch; lm=1; reads=1
    :: rlife>epoch && !(HALF_BACK && (old[0]==epoch || old[1]==epoch)) -> rlife=0; rmapped=0; lf=0; lm=0
    :: else -> lf=0; lm=0
    fi;
    tl=lf;
    if :: TELL_AGAIN && old[0]!=0 -> TELL(old[0]) :: else fi; DIE
    if :: TELL_AGAIN && old[1]!=0 -> TELL(old[1]) :: else fi; DIE
    if :: ADD_AGAIN && epoch==qlife && lf==epoch && dead<epoch && go[epoch] -> ask=1 :: else fi
  }
  end_loop: do
  :: atomic { up -> up=0; /* life_mapped() */ DIE
       if
       :: lf==qlife && lf==epoch && dead<=lf ->
          if :: !lm -> rmapped=1; DIE lm=1; reads=1; tl=lf :: else fi; DIE
          TELL(lf)
       :: else
       fi }
  :: d_step { drained!=0 -> o=drained; drained=0 } DIE /* life_drained() */
     d_step { if :: old[0]==o -> old[0]=0 :: old[1]==o -> old[1]=0 :: else fi; o=0 }
  :: atomic { dead>=qlife && (!SOCKET_FIRST || !up) && qlife<NL -> qlife++ } /* consumer_ended(), activate_next() */
  :: d_step { epoch==qlife && lf==epoch && !go[epoch] -> go[epoch]=1 } /* send_add_link() */
  :: atomic { qlife>epoch && (old[0]==0 || old[1]==0) -> /* finish_hand_over() */
       hl=qlife;
       st=(tl!=0 -> (A[tl].cur>start[tl] -> A[tl].cur : start[tl]) : start[epoch]);
       FINISH(0) DIE FINISH(1) DIE
       A[hl].cur=st; DIE
       if
       :: lf!=0 && (lm || (KEEP_READ_LIFE && reads)) ->
          if :: old[0]==0 -> old[0]=lf :: else -> old[1]=lf fi; DIE
          if :: TELL_OLD -> TELL(lf) :: else fi; DIE
       :: else
       fi;
       rlife=hl; rmapped=0; DIE
       REDELIVER(0) DIE REDELIVER(1) DIE
       if :: !EPOCH_LAST -> go[hl]=1 :: else fi; DIE
       start[hl]=st; DIE
       epoch=hl; lf=hl; lm=0; reads=0; hl=0; st=0; DIE
       go[epoch]=1 }
  :: d_step { queued!=0 -> told[queued]=1; queued=queued2; queued2=0 }
  :: kd>0 && !pdone -> goto died
  od;
died:
  kd--;
  d_step { tl=0; lf=0; lm=0; reads=0; hl=0; st=0; o=0; queued=0; queued2=0 };
  goto boot
}
proctype Killer() {
  end_killer: do
  :: atomic { kc>0 && !pdone && go[dead+1] && qlife==dead+1 -> kc--; killc!0 }
  od
}
proctype Monitor() { timeout -> assert(pdone) }
init { atomic {
  start[1]=1; A[1].cur=1; go[1]=1; told[1]=1;
  if :: kc=0 :: KILLC>0 -> kc=1 :: KILLC>1 -> kc=2 fi;
  if :: kd=0 :: KILLD>0 -> kd=1 :: KILLD>1 -> kd=2 fi;
  run Producer(); run Consumer(); run Daemon(); run Killer(); run Monitor() } }
