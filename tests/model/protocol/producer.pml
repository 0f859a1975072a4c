/* The producer: ProducerLink (libclient/src/producer_link.hpp), driven by ProducerCore::reap() and send(). reap() does its parts in one order;
   here each part may come at any time, which allows more. */
#define USED 1
#define ANSW 2          /* SlotMark: kAnswered */
#define WATC 4          /* kWatched */
#define OWES 8          /* kOwesVerdict */
#define BYVE 16         /* kByVerdict */
byte pm[NS];            /* SlotMark of each slot; 0: free. Private to the producer. */

#define DECIDES(i) (eseq[i]==desc[i] && (est[i]==EXHG || est[i]==VERD))

#define NEWS_P(i) ((pm[i]&USED) && (DECIDES(i)!=((pm[i]&WATC)!=0) || ((pm[i]&OWES) && eseq[i]==desc[i] && (est[i]==VERD || est[i]==FINL))))
/* ProducerLink::look_at_entry() */
inline look_at_entry(i) {
  if :: HOLD_SLOT && DECIDES(i) -> pm[i]=pm[i]|WATC :: else -> pm[i]=pm[i]&(255-WATC) fi;
  if :: eseq[i]==desc[i] && (est[i]==VERD || est[i]==FINL) -> pm[i]=pm[i]&(255-OWES) :: else fi
}
/* ProducerLink::free_slot(). What is said of the message is checked here and then forgotten, which keeps the state space small: nothing may
   speak of it again. With LETTER_WAIT=0 its letter may change later, so there it is kept to the end. */
inline free_slot(i) {
  pm[i]=0;
#if LETTER_WAIT
  if
  :: desc[i]!=UNTRACKED ->
     assert(dout[i]!=0);
     assert(!OUTV(i) || dl[desc[i]]==1);
     assert(dout[i]!=OK || dl[desc[i]]!=1);
     assert(OUTV(i) || dout[i]==OK || dl[desc[i]]==0);
     dl[desc[i]]=0
  :: else
  fi;
#else
  outcome[desc[i]]=dout[i];
#endif
  ranever=ranever&(255-BIT(desc[i]));
  done=done&(255-BIT(desc[i]))
}
#if NACK || RETRYING
#define CLEAR(l, i) A[l-1].begun[i]=0; A[l-1].batt[i]=0; A[l-1].acked[i]=0; A[l-1].code[i]=0; A[l-1].mseq[i]=0; A[l-1].mkind[i]=0; A[l-1].mval[i]=0
#else
#define CLEAR(l, i) A[l-1].begun[i]=0; A[l-1].batt[i]=0; A[l-1].acked[i]=0; A[l-1].code[i]=0
#endif
/* What older messages left behind in the slot says nothing any more: cleared, so that equal states are equal. */
inline forget_slot(i) {
  est[i]=0; eseq[i]=0; eatt[i]=0; eret[i]=0; erea[i]=0; eep[i]=0; edth[i]=0;
  CLEAR(1, i);
#if KILLC>0
  CLEAR(2, i);
#endif
#if KILLC>1
  CLEAR(3, i);
#endif
#if NACK
  cback[i]=0; cbatt[i]=0; cbverd[i]=0;
#endif
  cfin[i]=0; catt[i]=0; cend[i]=0
}
/* ProducerLink::try_free(), may_free_now() */
inline try_free(i) {
  fr=0;
  if
  :: (pm[i]&USED) && (pm[i]&(ANSW|OWES|WATC))==ANSW -> fr=1
  :: (pm[i]&USED) && (pm[i]&(ANSW|OWES|WATC))!=ANSW ->
     fr=((pm[i]&ANSW)!=0 && (pm[i]&OWES)==0);
     if :: fr && (pm[i]&WATC) -> look_at_entry(i); fr=((pm[i]&WATC)==0 || OUTV(i)) :: else fi;
     if
     :: !fr && (pm[i]&BYVE) && (desc[i]==UNTRACKED || OUTV(i)) && eseq[i]==desc[i] && est[i]==VERD && pe>eep[i] && (!FREE_BELOW_START || desc[i]<start[pe]) -> fr=1
     :: else
     fi
  :: else
  fi;
  if :: fr -> free_slot(i) :: else fi;
  fr=0
}
/* ProducerLink::look_at_entries() */
inline look_p() {
  if
  :: ivp -> ivp=0;
     if :: pm[0]!=0 -> look_at_entry(0); try_free(0) :: else fi;
     if :: pm[1]!=0 -> look_at_entry(1); try_free(1) :: else fi
  :: else
  fi
}
/* ProducerLink::settle(): the first answer is the outcome */
inline settle(i, how) {
  assert(!(how==CANC || how==EXHU) || !(ranever & BIT(desc[i])));
  dout[i]=how
}
/* ProducerLink::settle_answer(), follow_verdict() */
inline settle_answer(i) {
  if
  :: dout[i]==0 && desc[i]!=UNTRACKED ->
     if
     :: A[pe-1].code[i]==SKPV ->
        if :: OWES_VERDICT && !(eseq[i]==desc[i] && est[i]==VERD) -> pm[i]=pm[i]|OWES :: else fi;
        if :: DECIDES(i) && erea[i]!=UNDL -> settle(i, EXHA) :: else -> settle(i, EXHU) fi
     :: else -> settle(i, A[pe-1].code[i])
     fi
  :: else
  fi
}
/* ProducerLink::settle_verdict() */
inline settle_verdict(i) {
  pm[i]=pm[i]|BYVE;
  if
  :: dout[i]==0 && desc[i]!=UNTRACKED -> if :: erea[i]==UNDL -> settle(i, EXHU) :: else -> settle(i, EXHA) fi
  :: else
  fi
}
#if KILLC>1
#define NEXTLIFE (told[pe+1] -> pe+1 : (pe+2<=NL && told[(pe+2<=NL -> pe+2 : 0)] -> pe+2 : 0))
#else
#define NEXTLIFE (pe<NL && told[(pe<NL -> pe+1 : 0)] -> pe+1 : 0)
#endif

proctype Producer() {
  byte pe=1, an=1, vn=1, nxt=1, i, s; bit fr, scanned;
#if CANCEL
  bit wished;
#endif
  { do
    :: d_step { nxt<=NSEQ && (pm[0]==0 || pm[1]==0) -> /* claim(), write_descriptor() */
         i=(pm[0]==0 -> 0 : 1);
         assert(crun[i]==0); /* no payload changes under a living handler */
         if :: HOLD_SLOT && LETTER_WAIT -> forget_slot(i) :: else fi;
         desc[i]=nxt; dout[i]=0; pm[i]=USED }
       d_step { pslot[nxt%NS]=i; pub=nxt; nxt++; i=0 } /* write_place() */
    :: d_step { ivp -> look_p() } /* follow_interventions() */
    :: d_step { A[pe-1].last>=an -> /* take_acks() */
         assert(A[pe-1].last<an+NS); /* the ack ring never laps its reader */
         i=A[pe-1].aslot[an%NS]; s=A[pe-1].aseq[an%NS]; A[pe-1].aslot[an%NS]=0; A[pe-1].aseq[an%NS]=0; an++;
         if :: desc[i]==s && (pm[i]&USED) -> assert(A[pe-1].acked[i]==s); settle_answer(i) :: else -> s=0 fi }
       d_step { look_p(); if :: s!=0 && pm[i]!=0 -> pm[i]=pm[i]|ANSW; try_free(i) :: else fi; i=0; s=0 }
    :: d_step { vlast>=vn -> /* take_verdicts(), scan_verdicts() */
         if
         :: vlast<vn+NS -> i=vslot[vn%NS]; s=vseq[vn%NS]; vslot[vn%NS]=0; vseq[vn%NS]=0; vn++;
              if :: desc[i]==s && (pm[i]&USED) -> settle_verdict(i); try_free(i) :: else fi
         :: else -> vn=vlast+1; vslot[0]=0; vseq[0]=0; vslot[1]=0; vseq[1]=0;
              if :: est[0]==VERD && eseq[0]==desc[0] && (pm[0]&USED) -> settle_verdict(0); try_free(0) :: else fi;
              if :: est[1]==VERD && eseq[1]==desc[1] && (pm[1]&USED) -> settle_verdict(1); try_free(1) :: else fi
         fi; i=0; s=0;
         if :: vn>NS -> vn=vn-NS; vlast=vlast-NS :: else fi } /* only differences and residues of ring numbers count */
    :: d_step { !scanned && epoch>pe && A[pe-1].last<an -> /* follow_epoch(), scan_records() */
         if :: SCAN_RECORDS && (pm[0]&USED) && A[pe-1].acked[0]==desc[0] -> s=1; settle_answer(0) :: else fi }
       d_step { look_p(); if :: s!=0 && pm[0]!=0 -> pm[0]=pm[0]|ANSW; try_free(0) :: else fi; s=0;
         if :: SCAN_RECORDS && (pm[1]&USED) && A[pe-1].acked[1]==desc[1] -> s=1; settle_answer(1) :: else fi }
       d_step { look_p(); if :: s!=0 && pm[1]!=0 -> pm[1]=pm[1]|ANSW; try_free(1) :: else fi; s=0; scanned=1 }
    :: d_step { scanned && NEXTLIFE!=0 -> /* the switch; the daemon may drop the old segment */
         s=pe; pe=NEXTLIFE; an=1; scanned=0;
         A[s-1].begun[0]=0; A[s-1].begun[1]=0; A[s-1].batt[0]=0; A[s-1].batt[1]=0; A[s-1].acked[0]=0; A[s-1].acked[1]=0;
         A[s-1].code[0]=0; A[s-1].code[1]=0; A[s-1].last=0; A[s-1].aseq[0]=0; A[s-1].aseq[1]=0; A[s-1].aslot[0]=0; A[s-1].aslot[1]=0;
         A[s-1].cur=0; A[s-1].rcur=0;
#if NACK || RETRYING
         A[s-1].mseq[0]=0; A[s-1].mseq[1]=0; A[s-1].mkind[0]=0; A[s-1].mkind[1]=0; A[s-1].mval[0]=0; A[s-1].mval[1]=0;
#endif
         s=0;
         if :: pm[0]&BYVE -> try_free(0) :: else fi;
         if :: pm[1]&BYVE -> try_free(1) :: else fi }
#if CANCEL
    :: d_step { !wished && nxt>CANCEL -> wished=1; /* cancel() */
         if
         :: (pm[0]&USED) && desc[0]==CANCEL && dout[0]==0 -> wish[0]=CANCEL
         :: (pm[1]&USED) && desc[1]==CANCEL && dout[1]==0 -> wish[1]=CANCEL
         :: else
         fi }
#endif
    :: nxt>NSEQ && pm[0]==0 && pm[1]==0 -> pdone=1; goto over
    od } unless { atomic { killp?0 -> d_step { plost=1; i=0; s=0; nxt=0; an=0; vn=0; scanned=0 } } };
over: skip
}
