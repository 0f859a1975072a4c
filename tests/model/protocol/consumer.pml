/* The consumers of a queue, one life after the other: ConsumerLink (libclient/src/consumer_link.cpp, consumer_answer.cpp), driven by
   ConsumerCore::take(), ack(), nack(), progress(). Handlers of both slots may run at once and end in any order. A life takes nothing over
   from the one before: what is private starts anew. */
#define ENDS(i) ((est[i]==VERD || (est[i]==EXHG && erea[i]==UNDL)) -> eseq[i] : 0)
#if NACK
#define NEWS_C(i) (ENDS(i)!=cend[i] || cbverd[i]!=(NACK_VERDICT && est[i]==VERD && eseq[i]==cback[i]))
#else
#define NEWS_C(i) (ENDS(i)!=cend[i])
#endif
/* ConsumerLink::look_at_entries(), ends_unbegun() */
inline look_at_entries() {
  ivc=0;
  cend[0]=ENDS(0);
  cend[1]=ENDS(1);
#if NACK
  cbverd[0]=(NACK_VERDICT && est[0]==VERD && eseq[0]==cback[0]);
  cbverd[1]=(NACK_VERDICT && est[1]==VERD && eseq[1]==cback[1])
#endif
}
/* ConsumerLink::answer(): record (with what follows it at once), then place */
#define RECORD(i, s, c) A[L-1].code[i]=c; A[L-1].acked[i]=s; cfin[i]=s
inline ack_place(i, s) { d_step { A[L-1].last++; A[L-1].aseq[A[L-1].last%NS]=s; A[L-1].aslot[A[L-1].last%NS]=i } }

#define FREEHAND (crun[0]==0 && crun[1]==0)
#define REDELIVERED (rlast>=rn)
#define RSLOT rslot[rn%NS]
#define RSEQ rseq[rn%NS]
/* ConsumerLink::key_busy() */
#define BUSY(i, s) (SUPERSEDE && KEY_SERIAL && ((crun[0]!=0 && crun[0]!=s) || (crun[1]!=0 && crun[1]!=s)))
/* ConsumerLink::next_redelivery(): what it waits for */
#if POISON
#define WANTSALONE (ALONE && ralone[RSLOT]==RSEQ && !FREEHAND && crun[RSLOT]!=RSEQ && cfin[RSLOT]<RSEQ && desc[RSLOT]==RSEQ)
#define ALONERUNS (ALONE && ((crun[0]!=0 && ralone[0]==crun[0]) || (crun[1]!=0 && ralone[1]==crun[1])))
#else
#define WANTSALONE 0
#define ALONERUNS 0
#endif
/* ConsumerLink::held() */
#if AFTER
byte aslot;             /* Descriptor::retries_after_slot of the last message */
#define OWNV (eseq[pslot[cn%NS]]==cn && est[pslot[cn%NS]]==VERD)
#define EARLIER_FINAL (cfin[aslot]>=AFTER || (AFTER_KNOWS && ((eseq[aslot]==AFTER && (est[aslot]==VERD || est[aslot]==FINL)) || desc[aslot]>AFTER)))
#define HELD (cn==NSEQ && !(AFTER_EARLIER && AFTER>=NSEQ) && ((AFTER_RUNNING && crun[aslot]==AFTER) || (!OWNV && !EARLIER_FINAL)))
#else
#define HELD 0
#endif
#if HUNG
#define MAYANSWER(j) (crun[j]!=HUNG || dout[j]!=0 || plost)
#else
#define MAYANSWER(j) 1
#endif

/* ConsumerLink::ack(): record, supersede table, place */
inline finish(j) {
  if
  :: d_step { assert(desc[j]==crun[j]);
#if SUPERSEDE
       assert(winner<=crun[j]);                     /* never applied after a newer one succeeded */
       winner=crun[j];
#endif
       s=crun[j]; crun[j]=0; done=done|BIT(s); RECORD(j, s, OK) }
#if SUPERSEDE
     if :: TABLE_BEFORE_PLACE -> d_step { if :: s>A[L-1].high -> A[L-1].high=s :: else fi } :: else fi;
#endif
     ack_place(j, s);
#if SUPERSEDE
     if :: !TABLE_BEFORE_PLACE -> d_step { if :: s>A[L-1].high -> A[L-1].high=s :: else fi } :: else fi;
#endif
     s=0
#if SUPERSEDE
  :: d_step { s=crun[j]; crun[j]=0; RECORD(j, s, FAIL) } ack_place(j, s); s=0
#endif
  fi
}
#if NACK
#define GAVEBACK (cback[i]==s)
#define cbatt_(i) cbatt[i]
/* ConsumerLink::give_back() */
inline give_back(j) {
  d_step { nacks++; cback[j]=crun[j]; cbatt[j]=catt[j]; ranhere=ranhere&(255-BIT(crun[j]));
    A[L-1].mseq[j]=crun[j]; A[L-1].mkind[j]=GIVN; A[L-1].mval[j]=catt[j];
    nmsg[j]=crun[j]; crun[j]=0; ivc=1 }
}
#else
#define GAVEBACK 0
#define cbatt_(i) 0
#endif
inline take_up() {
  assert(desc[i]==s);
  assert(!(done & BIT(s)));                         /* what a life answered for good, no later one runs */
  assert(!(ranhere & BIT(s)));                      /* a life never runs again what it did not give back */
  assert(dout[i]!=CANC && dout[i]!=EXHU);     /* what is said never to have run does not run */
  assert(!(s==UNTRACKED && (ranever & BIT(s))));    /* untracked: at most once */
#if SUPERSEDE
  assert(crun[0]==0 && crun[1]==0);
#endif
#if POISON
  assert(!(ralone[i]==s && a>1 && !FREEHAND));
#endif
  crun[i]=s; catt[i]=a; ranhere=ranhere|BIT(s); ranever=ranever|BIT(s); ph=0
}

/* ConsumerLink::begin(), may_begin_again(), skips_unbegun(), take_up(); i, s, a are the candidate */
inline may_begin_again() {
  ph=1;
  if
  :: cfin[i]>=s -> ph=(FINISHED_ONCE -> 0 : 9)
  :: cfin[i]<s && crun[i]!=0 ->
     if :: RAISE && crun[i]==s && a>catt[i] -> ph=2 :: else -> ph=0 fi
#if NACK
  :: cfin[i]<s && crun[i]==0 && NACK_FENCE && cback[i]==s && a<=cbatt[i] -> ph=0
#endif
  :: else
  fi;
  if :: ph==0 -> i=0; s=0; a=0; redel=0 :: else fi
}
/* begun, then interventions: apart where the daemon decides between the two (max_wait) */
#define LOOK_AND_RUN if :: ivc -> look_at_entries() :: else fi; if :: cfin[i]>=s -> ph=0 :: cfin[i]<s && cend[i]==s -> ph=SKPV :: else -> if :: BEGUN_BEFORE_LOOK -> take_up() :: else -> ph=9 fi fi
#if MAXWAIT || FINE || CANCEL || SUPERSEDE
#define LOOK_NOW skip
#else
#define LOOK_NOW LOOK_AND_RUN
#endif
inline begin() {
  if
  :: ph==1 ->
     d_step {
       if
#if CANCEL
       :: wish[i]==s -> ph=((MAY_HAVE_RUN && (a>1 || GAVEBACK)) -> CANM : CANC)
#endif
#if SUPERSEDE
       :: redel && A[L-1].high>s -> ph=SUPD
#endif
       :: else -> if :: BEGUN_BEFORE_LOOK -> A[L-1].begun[i]=s; A[L-1].batt[i]=a :: else fi; LOOK_NOW
       fi }
  :: ph==2 -> d_step { if :: crun[i]==s -> catt[i]=a; A[L-1].batt[i]=a :: else fi; ph=0 } /* raised_publish() */
  :: ph==9 -> ack_place(i, s); ph=0 /* the mutant: a second ack place */
  fi;
  if
  :: ph==0
  :: ph==1 ->
     d_step { LOOK_AND_RUN }
     if :: ph==9 -> d_step { A[L-1].begun[i]=s; A[L-1].batt[i]=a; take_up() } :: else fi
  :: else
  fi;
  if
  :: ph==CANC || ph==CANM || ph==SUPD || ph==SKPV -> d_step { RECORD(i, s, ph) } ack_place(i, s)
  :: else
  fi;
  d_step { i=0; s=0; a=0; ph=0; redel=0 }
}

proctype Consumer() {
  byte L=1, cn, rn, i, s, a, ph; bit redel;
end_life:
  { {
    if :: d_step { go[L] -> up=1; ivc=1; ask=0; cn=start[L]; rn=rstart[L] } fi;
    end_take: do
    :: d_step { ask -> ask=0; up=1 } /* ConsumerCore::add_link(): sent again, so it says again that it has mapped */
    :: d_step { removed -> cn=0; rn=0; crun[0]=0; crun[1]=0 } break /* remove_link() */
    :: d_step { ivc -> look_at_entries() } /* follow_interventions() in next() */
#if NACK
    :: d_step { cbverd[0] && cback[0]!=0 && crun[0]==0 && cfin[0]<cback[0] -> s=cback[0]; RECORD(0, s, SKPV) } ack_place(0, s); s=0
    :: d_step { cbverd[1] && cback[1]!=0 && crun[1]==0 && cfin[1]<cback[1] -> s=cback[1]; RECORD(1, s, SKPV) } ack_place(1, s); s=0
#endif
    :: d_step { REDELIVERED && !ALONERUNS && !WANTSALONE && !(BUSY(RSLOT, RSEQ) && crun[RSLOT]!=RSEQ && desc[RSLOT]==RSEQ) -> /* next_redelivery() */
         assert(rlast<rn+NS); /* the redelivery ring never laps its reader */
         s=RSEQ; i=RSLOT; a=ratt[rn%NS]; rseq[rn%NS]=0; rslot[rn%NS]=0; ratt[rn%NS]=0; rn++; redel=1;
         if :: rn>NS && REDELIVERY_ROOM -> rn=rn-NS; rlast=rlast-NS :: else fi; /* only differences and residues count */
         A[L-1].rcur=rn;
         if :: desc[i]!=s -> i=0; s=0; a=0; redel=0 :: else -> may_begin_again() fi }
       if :: s!=0 -> begin() :: else fi
    :: d_step { (!REDELIVERED || (BUSY(RSLOT, RSEQ) && !WANTSALONE)) && !ALONERUNS && pub>=cn && !(SUPERSEDE && BUSY(pslot[cn%NS], cn)) && !HELD -> /* next_main() */
         assert(pub<cn+NS); /* the main ring never laps its reader */
         s=cn; i=pslot[cn%NS]; a=1; pslot[cn%NS]=0; cn++; A[L-1].cur=cn;
#if AFTER
         assert(s!=NSEQ || AFTER>=NSEQ || crun[aslot]!=AFTER);
#endif
         assert(desc[i]==s); may_begin_again() }
       if :: s!=0 -> begin() :: else fi
    :: crun[0]!=0 && MAYANSWER(0) -> finish(0)
    :: crun[1]!=0 && MAYANSWER(1) -> finish(1)
#if NACK
    :: crun[0]!=0 && crun[0]!=UNTRACKED && nacks<NACK -> give_back(0)
    :: crun[1]!=0 && crun[1]!=UNTRACKED && nacks<NACK -> give_back(1)
#endif
#if RETRYING
    :: d_step { crun[0]!=0 && reports<RETRYING -> reports++; A[L-1].mseq[0]=crun[0]; A[L-1].mkind[0]=PROG; A[L-1].mval[0]=REPORT } /* progress() */
    :: d_step { crun[1]!=0 && reports<RETRYING -> reports++; A[L-1].mseq[1]=crun[1]; A[L-1].mkind[1]=PROG; A[L-1].mval[1]=REPORT }
#endif
    od
  } unless { atomic { killc?0 -> d_step { dead=L; deaths++; L++; cn=0; rn=0; i=0; s=0; a=0; ph=0; redel=0; ask=0; ranhere=0; crun[0]=0; crun[1]=0;
#if NACK
      cback[0]=0; cback[1]=0; cbatt[0]=0; cbatt[1]=0; cbverd[0]=0; cbverd[1]=0;
#endif
      cfin[0]=0; cfin[1]=0; catt[0]=0; catt[1]=0; cend[0]=0; cend[1]=0 } } } };
  if :: L<=NL && !removed -> goto end_life :: else fi
}

