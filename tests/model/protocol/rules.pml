/* The sizes, the features and the rules of the link models, with what each is when nothing is said.
   A file of tests/model sets sizes and features and includes world.pml; the runner gives others by -D. */

/* ---- sizes ---- */
#ifndef NSEQ
#define NSEQ 3       /* messages that the producer sends */
#endif
#ifndef KILLC
#define KILLC 1      /* deaths of a consumer, at most; so KILLC + 1 lives */
#endif
#ifndef KILLD
#define KILLD 0      /* deaths of the daemon, at most */
#endif
#ifndef KILLP
#define KILLP 0      /* 1: the producer may die */
#endif
#ifndef MAXR
#define MAXR 1       /* retries: MAXR + 1 attempts, and one more for each death */
#endif
#ifndef FINE
#define FINE 0       /* 1: others move between any two stores of the daemon; see daemon.pml */
#endif
#define NS 2         /* slots, and places of each ring (a real verdict ring has more: fewer lap sooner) */
#define NL (KILLC+1)

/* ---- features: 0 or not said is off ---- */
#ifndef DEADLINES
#define DEADLINES 9  /* deadlines that may pass in a run; 9: as many as there are attempts */
#endif
#ifndef HUNG
#define HUNG 0       /* the handler of this sequence answers only when the outcome is known */
#endif
#ifndef MAXWAIT
#define MAXWAIT 0    /* 1: max_wait may pass */
#endif
#ifndef NACK
#define NACK 0       /* how many times a message may be given back */
#endif
#ifndef RETRYING
#define RETRYING 0   /* how many times progress may be reported */
#endif
#ifndef REPORT
#define REPORT 0     /* the retry count that progress reports */
#endif
#ifndef MAXAGE
#define MAXAGE 0     /* 1: max_age may pass for what reports progress */
#endif
#ifndef COMMITCLOCK
#define COMMITCLOCK 0 /* 1: clock = "commit" */
#endif
#ifndef CANCEL
#define CANCEL 0     /* the producer wishes to cancel this sequence */
#endif
#ifndef SUPERSEDE
#define SUPERSEDE 0  /* 1: one kind, one key, superseding; handlers may fail */
#endif
#ifndef AFTER
#define AFTER 0      /* the last message is sent after this sequence */
#endif
#ifndef UNTRACKED
#define UNTRACKED 0  /* this sequence is untracked */
#endif
#ifndef POISON
#define POISON 0     /* 1: counts at how many deaths a message was the only one begun */
#endif
#ifndef GOODBYE
#define GOODBYE 0    /* 1: the end of a life may be a goodbye, which counts no death */
#endif

/* ---- rules: 1 keeps the rule, 0 takes it away. The code keeps them all ---- */
#ifndef REDELIVERY_ROOM
#define REDELIVERY_ROOM 1     /* a redelivery place is written only where the consumer has read */
#endif
#ifndef PLACE_BEFORE_QUEUED
#define PLACE_BEFORE_QUEUED 1 /* Waiting, place, Queued; 0: Queued before its place */
#endif
#ifndef ANNOUNCE_AGAIN
#define ANNOUNCE_AGAIN 1      /* a new daemon announces verdicts that no outcome answers */
#endif
#ifndef TWO_COPIES
#define TWO_COPIES 1          /* the older copy of an entry is rewritten; 0: one copy, torn by a death */
#endif
#ifndef HOLD_SLOT
#define HOLD_SLOT 1           /* a Success keeps its slot while a verdict is being given */
#endif
#ifndef LETTER_WAIT
#define LETTER_WAIT 1         /* Final is stored when the letter is removed or marked; 0: when that was asked for */
#endif
#ifndef RAISE
#define RAISE 1               /* a redelivery of what runs raises its attempt */
#endif
#ifndef FINISHED_ONCE
#define FINISHED_ONCE 1       /* a redelivery of what is finished is only counted; 0: it gets a second ack place */
#endif
#ifndef VERDICT_EPOCH
#define VERDICT_EPOCH 1       /* a verdict carries the epoch in which it went Exhausting; 0: that in which it is published */
#endif
#ifndef FREE_BELOW_START
#define FREE_BELOW_START 1    /* an epoch frees a verdict's slot only below its start */
#endif
#ifndef RESTAMP
#define RESTAMP 1             /* a verdict at or beyond the start gets the new epoch */
#endif
#ifndef DEATH_ONCE
#define DEATH_ONCE 1          /* attempt and deaths rise in one store, if the begun attempt is the entry's */
#endif
#ifndef FINAL_CARRIED
#define FINAL_CARRIED 1       /* what the old records say acked becomes Final */
#endif
#ifndef SCAN_RECORDS
#define SCAN_RECORDS 1        /* the producer scans the records of an ended life */
#endif
#ifndef KEEP_READ_LIFE
#define KEEP_READ_LIFE 1      /* a life that the daemon reads is kept for its producer, said mapped or not */
#endif
#ifndef BEGUN_BEFORE_LOOK
#define BEGUN_BEFORE_LOOK 1   /* begun is stored before interventions is read */
#endif
#ifndef WITHDRAW
#define WITHDRAW 1            /* max_wait: begun is read again behind the barrier, and the verdict withdrawn */
#endif
#ifndef VERDICT_AFTER_ALL
#define VERDICT_AFTER_ALL 1   /* a Skipped{verdict} whose verdict was withdrawn gets it after all */
#endif
#ifndef OWES_VERDICT
#define OWES_VERDICT 1        /* a Skipped{verdict} frees its slot when the verdict stands */
#endif
#ifndef INTERVENE
#define INTERVENE 1           /* interventions moves after an entry that the hot path must hear of */
#endif
#ifndef NACK_MARK
#define NACK_MARK 1           /* a nack is a mark in the record; 0: only the message on the socket counts */
#endif
#ifndef NACK_FENCE
#define NACK_FENCE 1          /* a redelivery of an attempt that was given back is dropped */
#endif
#ifndef NACK_VERDICT
#define NACK_VERDICT 1        /* a life answers the verdict on what it gave back */
#endif
#ifndef UNREAD_PLACE
#define UNREAD_PLACE 1        /* clock at commit: what is still to be read gets no second place */
#endif
#ifndef MAY_HAVE_RUN
#define MAY_HAVE_RUN 1        /* a cancel found on what may have begun says so */
#endif
#ifndef TABLE_BEFORE_PLACE
#define TABLE_BEFORE_PLACE 1  /* acked, supersede table, place; 0: the table last */
#endif
#ifndef CARRY_TABLE
#define CARRY_TABLE 1         /* the next table is the old one and the old Success records */
#endif
#ifndef KEY_SERIAL
#define KEY_SERIAL 1          /* two of one key never run at once */
#endif
#ifndef AFTER_KNOWS
#define AFTER_KNOWS 1         /* final is own answer, verdict or Final, or a later sequence in the slot; 0: own answer only */
#endif
#ifndef AFTER_RUNNING
#define AFTER_RUNNING 1       /* ... and not running here any more */
#endif
#ifndef AFTER_EARLIER
#define AFTER_EARLIER 1       /* a message after itself or a later one is not held */
#endif
#ifndef GONE_VERDICT
#define GONE_VERDICT 1        /* untracked and begun in a life that died: a verdict without outcome */
#endif
#ifndef ALONE
#define ALONE 1               /* what a consumer died with runs with nothing else begun */
#endif
#ifndef DRAIN_FIRST
#define DRAIN_FIRST 1         /* a lost producer's link is removed when all of it is final */
#endif
#ifndef OWES_LETTER
#define OWES_LETTER 1         /* ... and no letter is still to be written */
#endif
