/* What outlives its writer: the three segments of a link, the ledger, the disk. Arrays by slot, by ring place, by life. */

/* submission segment (shm_layout/submission.hpp); the producer writes it */
byte desc[NS];          /* Descriptor::number: the payload is that message's */
byte dout[NS];          /* Descriptor::outcome of that sequence */
byte pub;               /* the greatest number published in the main ring: place n holds the greatest published of its residue */
byte pslot[NS];         /* Place::slot */
#if CANCEL
byte wish[NS];          /* Descriptor::cancel */
#endif

/* ack segment (shm_layout/ack.hpp), one per life; that life's consumer writes it; life n has A[n-1] */
typedef Ack {
  byte cur; byte rcur;            /* cursor, redelivery_cursor */
  byte begun[NS]; byte batt[NS];  /* begun; the greater of begun_attempt and raised_attempt */
  byte acked[NS]; byte code[NS];
  byte last; byte aseq[NS]; byte aslot[NS]; /* ack ring: greatest number, places */
#if NACK || RETRYING
  byte mseq[NS]; byte mkind[NS]; byte mval[NS];
#endif
#if SUPERSEDE
  byte high;                      /* the supersede table: one kind, one key */
#endif
};
Ack A[NL];

/* tracking segment (shm_layout/tracking.hpp); the daemon writes it */
byte est[NS], eseq[NS], eatt[NS], eret[NS], erea[NS], eep[NS], edth[NS];
#if POISON
byte esole[NS];
#endif
byte rlast, rseq[NS], rslot[NS], ratt[NS];  /* redelivery ring */
byte vlast, vseq[NS], vslot[NS];            /* verdict ring */
byte epoch=1;
bit ivp=1, ivc=1;       /* `interventions` differs from what producer, consumer saw last */

/* ledger (daemon/ledger.hpp), control sockets and pidfds; kept for the daemon by the service manager */
byte qlife=1;          /* the queue's life, handed over or not */
byte start[NL+1], rstart[NL+1];
bit go[NL+1];           /* AddLink was sent */
bit told[NL+1];         /* LifeRecord::mapped, and its producer was told */
byte dead;              /* lives whose process has ended: 1 to dead */
bit up, ask;            /* a kMapped lies unread in the socket; an AddLink was sent again */
bit plost, removed;     /* the producer's process has ended; the link's memory was freed */

/* disk */
byte dl[NSEQ+1];        /* 0 none, 1 letter, 2 letter marked late success */

/* private to the living consumer, of each slot (ConsumerLink::Slot) */
byte crun[NS], cfin[NS], catt[NS], cend[NS];  /* running, finished, attempt, ended */
#if NACK
byte cback[NS], cbatt[NS]; bit cbverd[NS]; /* given_back, given_back_attempt, given_back_verdict */
byte nacks;
byte nmsg[NS];          /* the message on the socket, for NACK_MARK=0 */
#endif
#if RETRYING
byte reports;
#endif


/* for the checks alone */
#if !LETTER_WAIT
byte outcome[NSEQ+1];
#endif
byte ranever, ranhere, done;  /* a bit per sequence */
byte winner;            /* greatest sequence that succeeded */
bit pdone;
#if DEADLINES<9
byte passed;
#define MAYPASS (passed<DEADLINES)
#define PASS passed++
#else
#define MAYPASS 1
#define PASS skip
#endif
byte kc, kd, kp, deaths;

mtype = { none };
#define RES 0           /* PendingState::kReserved */
#define WAIT 1
#define QUED 2
#define EXHG 3
#define VERD 4
#define FINL 5

#define OK 1            /* AckCode and OutcomeCode, as far as they differ for the protocol */
#define FAIL 2
#define CANC 3          /* cancelled */
#define CANM 4          /* cancelled, may have run */
#define SUPD 5
#define SKPV 6          /* AckCode::kSkippedVerdict */
#define EXHA 7          /* OutcomeCode::kExhausted */
#define EXHU 8          /* ... undelivered: it never ran */
#define OUTV(i) (dout[i]==EXHA || dout[i]==EXHU)

#define RETR 1          /* VerdictReason */
#define UNDL 2
#define MAGE 3
#define POIS 4
#define GONE 5

#define PROG 1          /* MarkKind */
#define GIVN 2

#define BIT(s) (1<<(s))
#define FRESH(s,i) (eseq[i]==s)   /* the entry speaks of s */
#define ENTRY(s,i,x,y) (eseq[i]==s -> x : y)
chan killc = [0] of { bit };
chan killd = [0] of { bit };
chan killp = [0] of { bit };
