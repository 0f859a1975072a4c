/* The daemon's side of a link: LinkTracker (daemon/tracker.cpp, tracker_verdict.cpp, tracker_handover.cpp, tracker_stores.cpp) and what Bus
   does around it (bus_lives.cpp, bus_recovery.cpp, bus_link_end.cpp). It may die between any two stores; what it holds itself is lost then.
   A deadline may pass whenever its clock runs. One step reads everything that a decision needs (LinkTracker::look()); the stores come after,
   one step each, so what was read may have become old by then. */
#define COM(i) (desc[i]!=0 && (pub>=desc[i] || desc[i]<A[tl-1].cur))
#define ST(i) (eseq[i]==desc[i] -> est[i] : RES)
#define AT(i) (eseq[i]==desc[i] -> eatt[i] : 1)
#define RT(i) (eseq[i]==desc[i] -> eret[i] : 0)
#define DTH(i) (eseq[i]==desc[i] -> edth[i] : 0)
#define ACKED(i) (A[tl-1].acked[i]==desc[i])
#define ANSWERED(i) (ACKED(i) && A[tl-1].code[i]!=SKPV)
#define BEG(i) (A[tl-1].begun[i]==desc[i])
#define BATT(i) A[tl-1].batt[i]
#define CURRENT(i) (BEG(i) && BATT(i)>=AT(i))
#if NACK || RETRYING
#define MARKED(i, k) (A[tl-1].mseq[i]==desc[i] && A[tl-1].mkind[i]==k)
#else
#define MARKED(i, k) 0
#endif
#if NACK
#define GIVEN(i) (MARKED(i, GIVN) && A[tl-1].mval[i]>=BATT(i))
#else
#define GIVEN(i) 0
#endif
#if RETRYING
#define REPORTED(i) (MARKED(i, PROG) -> A[tl-1].mval[i] : 0)
#else
#define REPORTED(i) 0
#endif
#define ENDED (qlife>tl)
#define LOOKS(i) (!fz && !removed && lrun[i]==0 && COM(i) && desc[i]!=UNTRACKED && ST(i)!=FINL)
#define OPEN(i) (LOOKS(i) && !ACKED(i) && dout[i]==0)
#define SETTLED(i) (dout[i]!=0 && !OUTV(i))
/* examine_begun(): the deadline */
#define OVER(i) (OPEN(i) && !ENDED && (ST(i)==RES || ST(i)==QUED) && CURRENT(i) && !GIVEN(i))
#define BACK(i) (OPEN(i) && !ENDED && (ST(i)==RES || ST(i)==QUED) && CURRENT(i) && GIVEN(i))
/* examine_unbegun() */
#define UNBEGUN(i) (OPEN(i) && (ST(i)==RES || ST(i)==QUED) && !CURRENT(i))
/* examine_waiting() */
#define DUE(i) (OPEN(i) && !ENDED && ST(i)==WAIT)
#define UNREAD(i) (UNREAD_PLACE && desc[i]>=A[tl-1].cur)
#define ROOM (!REDELIVERY_ROOM || rlast+1<A[tl-1].rcur+NS)
/* continue_verdict(), withdraw_verdict(), withdraw_undelivered() */
#define GOES(i) (LOOKS(i) && ST(i)==EXHG && (SETTLED(i) || ANSWERED(i)))
#define RUNS(i) (WITHDRAW && OPEN(i) && ST(i)==EXHG && erea[i]==UNDL && BEG(i))
#define WRITES(i) (LOOKS(i) && ST(i)==EXHG && !SETTLED(i) && !ANSWERED(i) && !RUNS(i))
#define LATE(i) (LOOKS(i) && ST(i)==VERD && SETTLED(i))
/* examine_answered() */
#define OWED(i) (VERDICT_AFTER_ALL && LOOKS(i) && ACKED(i) && A[tl-1].code[i]==SKPV && ST(i)!=EXHG && ST(i)!=VERD)

/* Where the daemon may die between two stores, each store is a step of its own, or the daemon dies there and nobody else moved meanwhile.
   FINE=1: others move between the stores as well, and what was read may be old when it is stored. Far more states, so it is run for less. */
#if FINE
#define BEGIN d_step {
#define CUT } d_step {
#define END }
#elif KILLD
#define BEGIN atomic { d_step {
#define CUT } if :: skip :: kd>0 && !pdone -> goto died fi; d_step {
#define END } }
#else
#define BEGIN d_step {
#define CUT ;
#define END }
#endif
#if KILLD && !FINE
#define MAYDIE if :: skip :: kd>0 && !pdone -> goto died fi;
#else
#define MAYDIE
#endif
/* intervene(): interventions moves; the barrier orders it before the next look */
#if !INTERVENE
#define IV skip
#elif FINE || !HOLD_SLOT
#define IV ivp=1; ivc=1
#else
/* Who would find nothing new by looking need not look: one state less. */
#define IV ivp=(NEWS_P(0) || NEWS_P(1)); ivc=(NEWS_C(0) || NEWS_C(1))
#endif
/* LinkTracker::store(): the older copy is rewritten, so a death leaves the other */
#if POISON
#define KEEPSOLE(i) esole[i]=ENTRY(s, i, esole[i], 0);
#define ALONEFLAG(i) ; if :: edth[i]>0 -> ralone[i]=s :: else fi
#else
#define KEEPSOLE(i)
#define ALONEFLAG(i)
#endif
#if TWO_COPIES
#define STORE(i, state, att, ret, reason, ep) edth[i]=ENTRY(s, i, edth[i], 0); KEEPSOLE(i) eseq[i]=s; est[i]=state; eatt[i]=att; eret[i]=ret; erea[i]=reason; eep[i]=ep
#else
#define STORE(i, state, att, ret, reason, ep) est[i]=RES; eseq[i]=0 } d_step { edth[i]=ENTRY(s, i, edth[i], 0); KEEPSOLE(i) eseq[i]=s; est[i]=state; eatt[i]=att; eret[i]=ret; erea[i]=reason; eep[i]=ep
#endif
/* place_redelivery(), announce() */
#define PLACE(i) rlast++; rseq[rlast%NS]=s; rslot[rlast%NS]=i; ratt[rlast%NS]=a ALONEFLAG(i)
#define ANNOUNCE(i) vlast++; vseq[vlast%NS]=s; vslot[vlast%NS]=i
#if PLACE_BEFORE_QUEUED
#define PLACE_AND_QUEUE(i) PLACE(i) CUT STORE(i, QUED, a, r, 0, 0)
#else
#define PLACE_AND_QUEUE(i) STORE(i, QUED, a, r, 0, 0) CUT PLACE(i)
#endif
#define DONE s=0; a=0; r=0; f=0
#define MAX(x, y) ((x)>(y) -> (x) : (y))
/* attempt_over(), start_verdict() */
#define ATTEMPT_OVER(i) f=(r>=MAXR -> EXHG : WAIT) \
  CUT STORE(i, f, (f==WAIT -> a+1 : a), (f==WAIT -> r+1 : r), (f==WAIT -> 0 : RETR), (f==WAIT -> 0 : tl)) \
  CUT if :: f==EXHG -> IV :: else fi; DONE
#define START_VERDICT(i, q) STORE(i, EXHG, a, r, q, tl) CUT IV; DONE

#if NACK
#define NMSG(i) (nmsg[i]==desc[i])
#define NTAKE(i) nmsg[i]=0
#else
#define NMSG(i) 1
#define NTAKE(i) skip
#endif
#if LETTER_WAIT
#define LETTER_THERE(i) (dl[desc[i]]!=0)
#define UNMARKED(i) (dl[desc[i]]==1)
#define ASK_REMOVE skip
#define ASK_MARK(i) skip
#else
byte lpend[NSEQ+1];     /* asked of the worker: 1 remove, 2 mark */
#define LETTER_THERE(i) 0
#define UNMARKED(i) 0
#define ASK_REMOVE if :: dl[s]!=0 -> lpend[s]=1 :: else fi
#define ASK_MARK(i) if :: dl[s]!=0 -> lpend[s]=(dout[i]==OK -> 2 : 1) :: else fi
#endif

/* The duties of LinkTracker::decide() for one slot. */
#define SLOT(i) \
    :: BEGIN MAYPASS && OVER(i) -> PASS; s=desc[i]; a=BATT(i); r=MAX(RT(i), REPORTED(i)); ATTEMPT_OVER(i) END \
    :: BEGIN BACK(i) && (NACK_MARK || NMSG(i)) -> s=desc[i]; a=BATT(i); r=RT(i); NTAKE(i); ATTEMPT_OVER(i) END \
    :: BEGIN MAXAGE && OVER(i) && MARKED(i, PROG) -> s=desc[i]; a=AT(i); r=RT(i) CUT START_VERDICT(i, MAGE) END \
    :: BEGIN COMMITCLOCK && MAYPASS && UNBEGUN(i) -> PASS; s=desc[i]; a=AT(i); r=RT(i); ATTEMPT_OVER(i) END \
    :: BEGIN MAXWAIT && !COMMITCLOCK && UNBEGUN(i) && AT(i)==1 && DTH(i)==0 && !BEG(i) && MAYPASS -> PASS; s=desc[i]; a=1; r=RT(i) CUT START_VERDICT(i, UNDL) END \
    :: BEGIN DUE(i) && (CURRENT(i) || UNREAD(i)) -> s=desc[i]; a=AT(i); r=RT(i) CUT STORE(i, QUED, a, r, 0, 0); DONE END \
    :: BEGIN DUE(i) && !CURRENT(i) && !UNREAD(i) && ROOM -> s=desc[i]; a=AT(i); r=RT(i) CUT PLACE_AND_QUEUE(i); DONE END \
    :: BEGIN (GOES(i) || RUNS(i)) && LETTER_THERE(i) -> dl[desc[i]]=0 END \
    :: BEGIN GOES(i) && !LETTER_THERE(i) -> s=desc[i]; ASK_REMOVE CUT STORE(i, FINL, eatt[i], eret[i], erea[i], eep[i]) CUT IV; DONE END \
    :: BEGIN RUNS(i) && !LETTER_THERE(i) -> s=desc[i]; ASK_REMOVE CUT STORE(i, RES, eatt[i], eret[i], 0, 0) CUT IV; DONE END \
    :: BEGIN LATE(i) && UNMARKED(i) -> dl[desc[i]]=(dout[i]==OK -> 2 : 0) END \
    :: BEGIN LATE(i) && !UNMARKED(i) -> s=desc[i]; ASK_MARK(i) CUT STORE(i, FINL, eatt[i], eret[i], erea[i], eep[i]) CUT IV; DONE END \
    :: BEGIN OWED(i) -> s=desc[i]; a=AT(i); r=RT(i) CUT START_VERDICT(i, UNDL) END \
    :: BEGIN WRITES(i) -> dl[desc[i]]=1; lrun[i]=1 END /* Bus::write_letter(): copied, looked at again, renamed, on the worker */ \
    :: BEGIN lrun[i]==1 && GONE_STALE(i) -> lrun[i]=0 END /* letter_done(): answered meanwhile */ \
    :: BEGIN lrun[i]==1 && !GONE_STALE(i) -> s=eseq[i]; hl=(VERDICT_EPOCH -> eep[i] : epoch); lrun[i]=0 /* finish_verdict() */ \
         CUT STORE(i, VERD, eatt[i], eret[i], erea[i], hl) CUT IV CUT ANNOUNCE(i); hl=0; DONE END
#define GONE_STALE(i) (est[i]!=EXHG || desc[i]!=eseq[i] || SETTLED(i) || ANSWERED(i))

/* settle_ended_life() for one slot; hl is the coming life, st its start */
#define SETTLE_ENDED(i) \
  BEGIN s=desc[i]; a=AT(i); r=RT(i); \
    if \
    :: COM(i) && FINAL_CARRIED && ANSWERED(i) && s!=UNTRACKED && ST(i)!=VERD && ST(i)!=FINL -> f=FINL \
    :: COM(i) && GONE_VERDICT && s==UNTRACKED && !ACKED(i) && BEG(i) && ST(i)!=VERD -> f=VERD \
    :: COM(i) && VERDICT_AFTER_ALL && ACKED(i) && !ANSWERED(i) && ST(i)<=QUED -> f=EXHG \
    :: COM(i) && WITHDRAW && ST(i)==EXHG && RUNSON(i) -> f=10 \
    :: COM(i) && RESTAMP && (ST(i)==VERD || (ST(i)==EXHG && !ANSWERED(i) && !(RUNSON(i) && WITHDRAW))) && s>=st -> f=8 \
    :: else -> f=9 \
    fi \
  CUT if \
    :: f==FINL -> RAW(i, FINL, 0, 0) \
    :: f==VERD -> RAW(i, VERD, GONE, tl) \
    :: f==EXHG -> RAW(i, EXHG, UNDL, tl) \
    :: f==10 -> RAW(i, RES, 0, 0); IV \
    :: f==8 -> eep[i]=hl \
    :: else \
    fi \
  CUT if :: f==VERD -> ANNOUNCE(i) :: else fi; DONE END
#define RAW(i, state, reason, ep) edth[i]=ENTRY(s, i, edth[i], 0); KEEPSOLE(i) eseq[i]=s; est[i]=state; eatt[i]=a; eret[i]=r; erea[i]=reason; eep[i]=ep
#define RUNSON(i) (erea[i]==UNDL && !ACKED(i) && BEG(i))
/* redeliver() for one slot; f: 1 again, 2 again and a death counted, 3 poison */
#if POISON
#define COUNTSOLE(i) esole[i]=ENTRY(s, i, esole[i], 0)+((f==2 && sole) -> 1 : 0); if :: s!=UNTRACKED && esole[i]>=2 -> f=3 :: else fi;
#else
#define COUNTSOLE(i)
#endif
#define REDELIVER(i) \
  BEGIN s=desc[i]; a=AT(i); r=RT(i); f=0; \
    if \
    :: COM(i) && !ACKED(i) && s<st && ST(i)<=QUED && dout[i]==0 -> \
       f=1; \
       if \
       :: (DEATH_ONCE -> CURRENT(i) : BEG(i)) -> a=(DEATH_ONCE -> BATT(i) : AT(i))+1; if :: !GOODBYE && !GIVEN(i) -> f=2 :: else fi \
       :: else \
       fi \
    :: else \
    fi \
  CUT if \
    :: f>0 -> edth[i]=ENTRY(s, i, edth[i], 0)+(f==2 -> 1 : 0); assert(edth[i]<=deaths); COUNTSOLE(i) \
       eseq[i]=s; eatt[i]=a; eret[i]=r; eep[i]=(f==3 -> tl : 0); erea[i]=(f==3 -> POIS : 0); est[i]=(f==3 -> EXHG : (PLACE_BEFORE_QUEUED -> WAIT : QUED)) \
    :: else \
    fi \
  CUT if :: f==1 || f==2 -> PLACE(i) :: else fi \
  CUT if :: f==1 || f==2 -> est[i]=QUED :: else fi; DONE END

#define BEGUNCOUNT(i) (desc[i]!=0 && BEG(i) && !ACKED(i) && !GIVEN(i))
#define ALLFINAL(i) (desc[i]==0 || !COM(i) || ((ST(i)!=EXHG || !OWES_LETTER) && (ANSWERED(i) || dout[i]!=0 || ST(i)==VERD || ST(i)==FINL)))

proctype Daemon() {
  byte tl=1, s, a, r, f, hl, st, lrun[NS]; bit fz, sole, due;
boot:
  tl=epoch; /* recover_lives(): the life that the epoch names */
  { BEGIN if :: dead<epoch && go[epoch] && !told[epoch] -> ask=due :: else fi; due=0; /* resume_queue(): AddLink again */
      if :: ANNOUNCE_AGAIN && est[0]==VERD && eseq[0]==desc[0] && dout[0]==0 -> s=eseq[0]; ANNOUNCE(0) :: else fi;
      CUT if :: ANNOUNCE_AGAIN && est[1]==VERD && eseq[1]==desc[1] && dout[1]==0 -> s=eseq[1]; ANNOUNCE(1) :: else fi;
      CUT IV; s=0 END
    end_loop: do
    SLOT(0)
    SLOT(1)
#if !LETTER_WAIT
    :: d_step { lpend[1]!=0 -> dl[1]=(lpend[1]==1 -> 0 : 2); lpend[1]=0 }
    :: d_step { lpend[2]!=0 -> dl[2]=(lpend[2]==1 -> 0 : 2); lpend[2]=0 }
    :: d_step { lpend[NSEQ]!=0 -> dl[NSEQ]=(lpend[NSEQ]==1 -> 0 : 2); lpend[NSEQ]=0 }
#endif
    :: BEGIN up -> up=0; s=1 /* life_mapped(): the packet is read ... */
       CUT if :: qlife==epoch -> tl=epoch; fz=0; told[epoch]=1 :: else fi; s=0 END /* ... and the books say so */
    :: d_step { dead>=qlife && !up && qlife<NL && !removed -> qlife++ } /* consumer_ended(), activate_next() */
    :: qlife==epoch && !go[epoch] -> go[epoch]=1 /* send_add_link() */
    :: d_step { qlife>epoch && lrun[0]==0 && lrun[1]==0 && !removed -> /* hand_over(), finish_hand_over() */
         hl=qlife; st=MAX(A[tl-1].cur, start[tl]); sole=(BEGUNCOUNT(0)+BEGUNCOUNT(1)==1); fz=1;
         if :: COM(0) && ST(0)==EXHG && (ANSWERED(0) || RUNSON(0)) -> dl[desc[0]]=0 :: else fi;
         if :: COM(1) && ST(1)==EXHG && (ANSWERED(1) || RUNSON(1)) -> dl[desc[1]]=0 :: else fi }
       MAYDIE SETTLE_ENDED(0) MAYDIE SETTLE_ENDED(1) MAYDIE d_step { IV } MAYDIE
       d_step { rseq[0]=0; rseq[1]=0; rslot[0]=0; rslot[1]=0; ratt[0]=0; ratt[1]=0; /* nobody reads what lies below the new start */
         rstart[hl]=rlast+1; start[hl]=st;
         A[hl-1].cur=st; A[hl-1].rcur=rlast+1;
#if SUPERSEDE
         A[hl-1].high=A[tl-1].high;
         if :: CARRY_TABLE && ACKED(0) && A[tl-1].code[0]==OK && desc[0]>A[hl-1].high -> A[hl-1].high=desc[0] :: else fi;
         if :: CARRY_TABLE && ACKED(1) && A[tl-1].code[1]==OK && desc[1]>A[hl-1].high -> A[hl-1].high=desc[1] :: else fi;
#endif
         if :: KEEP_READ_LIFE && tl==epoch -> told[tl]=1 :: else fi }
       MAYDIE
       if :: desc[0]<=desc[1] -> REDELIVER(0) MAYDIE REDELIVER(1) :: else -> REDELIVER(1) MAYDIE REDELIVER(0) fi;
       MAYDIE BEGIN epoch=hl CUT IV END /* move_epoch() */
       d_step { hl=0; st=0; sole=0 }
    :: d_step { KILLP && plost && !fz && lrun[0]==0 && lrun[1]==0 && !removed && qlife==tl && (!DRAIN_FIRST || (ALLFINAL(0) && ALLFINAL(1))) ->
         removed=1 } /* end_link_if_final(), all_final() */
#if KILLD && !FINE
    :: kd>0 && !pdone -> goto died
#endif
    od
  } unless { atomic { killd?0 -> goto died } };
died:
  kd--;
  d_step { s=0; a=0; r=0; f=0; hl=0; st=0; sole=0; fz=0; lrun[0]=0; lrun[1]=0; tl=0; due=1;
#if NACK
      nmsg[0]=0; nmsg[1]=0;
#endif
#if !LETTER_WAIT
      lpend[1]=0; lpend[2]=0; lpend[NSEQ]=0;
#endif
    };
  goto boot
}
