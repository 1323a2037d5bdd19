/*
 * Leases by numbered beats, on a clock (R8, and R3 where it speaks of leases). Beats run down and up the
 * chain and echo each other's numbers; a lease counts from the instant at which this member sent the beat
 * that the proof echoes. Messages lie in their connection for any time. One server takes the chain over,
 * waits D after its adoption and commits; from then on nobody of the old epoch may read.
 *
 * Names and arithmetic are those of src/replica/lease.ts and chain-lease.ts. Clocks run alike: the margin
 * for those that do not is not modelled. A machine may be suspended: its monotonic clock stands still.
 */
#ifndef MEMBERS
#define MEMBERS 3             /* of the old epoch; with GATES the server after them is a learner */
#endif
#ifndef GATES
#define GATES 0               /* times that the tail closes its gate */
#endif
#ifndef ROUNDS
#define ROUNDS 3              /* beats that the head starts */
#endif
#define D 3
#ifndef END
#define END 8                 /* the clock stops here */
#endif
#define SERVERS 4
#define TAIL (MEMBERS - 1)
#define LEARNER MEMBERS
#define NOBODY 9

mtype = { beat, gate, ungate };

typedef Ledger {
  byte downSent[ROUNDS + 1];  /* when this server sent (started or passed on) each number; 0: never */
  byte upSent[ROUNDS + 1];
  byte newestDown; byte newestUp;
  byte provenAbove; byte provenBelow;
};
Ledger ledger[SERVERS];
chan down[SERVERS] = [2] of { mtype, byte, byte };  /* to the next server: number, echo */
chan up[SERVERS] = [2] of { byte, byte };           /* to the one before */

byte now = 1;
byte gateAt;                  /* when the tail closed its gate; 0: open */
byte gates;
bit sent;                     /* the learner's admission was sent: the gate stays closed */
bit joined;                   /* the learner knows that it is gated */
byte survivor = NOBODY;       /* adopted the next epoch, at: */
byte adoptedAt;
byte number, echo;            /* scratch */

#ifdef SUSPENDS
bit suspended[SERVERS];
byte slept[SERVERS];          /* by how much its monotonic clock is behind */
byte suspends;
#define AWAKE(x) (!suspended[x])
#else
#define AWAKE(x) true
#endif

/* The clock that a lease is counted on: the wall clock where that one ran ahead. */
#ifdef NO_R8_WALL_CLOCK
#define CLOCK(x) (now - slept[x])
#else
#define CLOCK(x) now
#endif
#define FRESH(x, start) ((start) != 0 && CLOCK(x) - (start) < D)

#define HAS_BELOW(x) ((x) < TAIL || (x) == TAIL && gateAt != 0)
#define HAS_ABOVE(x) ((x) > 0 && (x) < MEMBERS || (x) == LEARNER && joined)

/* ChainLease.isProven, by place in the chain. */
#define BELOW_PROVES(x) FRESH(x, ledger[x].provenBelow)
#define ABOVE_PROVES(x) FRESH(x, ledger[x].provenAbove)
#ifdef NO_R8_GATE_GRACE
#define SINGLE_PROVEN(x) true
#else
#define SINGLE_PROVEN(x) (gateAt == 0 || FRESH(x, gateAt) || BELOW_PROVES(x))
#endif
#ifdef NO_R8_BOTH_SIDES
#define MIDDLE_PROVEN(x) BELOW_PROVES(x)
#else
#define MIDDLE_PROVEN(x) (ABOVE_PROVES(x) && BELOW_PROVES(x))
#endif
#ifdef NO_R8_GATED_TAIL
#define TAIL_PROVEN(x) ABOVE_PROVES(x)
#else
#define TAIL_PROVEN(x) (ABOVE_PROVES(x) && (gateAt == 0 || BELOW_PROVES(x)))
#endif
#define IS_PROVEN(x) (MEMBERS == 1 -> SINGLE_PROVEN(x) : \
  ((x) == 0 -> BELOW_PROVES(x) : ((x) == TAIL -> TAIL_PROVEN(x) : MIDDLE_PROVEN(x))))

#define LATER(a, b) ((a) > (b) -> (a) : (b))
#define NAME(x) ('A' + x)

inline passDown(x, what, echoed) {
  ledger[x].newestDown = LATER(ledger[x].newestDown, what);
  ledger[x].downSent[what] = CLOCK(x);
  if
  :: nfull(down[x]) -> down[x]!beat,what,echoed
  :: full(down[x])            /* lost: the connection broke */
  fi;
  printf("%d: %c sends down-beat %d, echo %d\n", now, NAME(x), what, echoed)
}

inline passUp(x, what, echoed) {
  ledger[x].newestUp = LATER(ledger[x].newestUp, what);
  ledger[x].upSent[what] = CLOCK(x);
  if
  :: nfull(up[x]) -> up[x]!what,echoed
  :: full(up[x])
  fi;
  printf("%d: %c sends up-beat %d, echo %d\n", now, NAME(x), what, echoed)
}

#ifdef NO_R8_ECHO
#define SINCE(x, sentAt) CLOCK(x)
#else
#define SINCE(x, sentAt) sentAt
#endif

inline receiveDown(x) {
  ledger[x].newestDown = LATER(ledger[x].newestDown, number);
  if
  :: echo > 0 && ledger[x].upSent[echo] != 0 ->
    ledger[x].provenAbove = LATER(ledger[x].provenAbove, SINCE(x, ledger[x].upSent[echo]))
  :: else
  fi
}

inline receiveUp(x) {
  ledger[x].newestUp = LATER(ledger[x].newestUp, number);
  if
  :: echo > 0 && ledger[x].downSent[echo] != 0 ->
    ledger[x].provenBelow = LATER(ledger[x].provenBelow, SINCE(x, ledger[x].downSent[echo]))
  :: else
  fi
}

/* From the survivor's first commit on, nobody of the old epoch may read. */
inline check() {
  number = 0; echo = 0;
  if
  :: survivor != NOBODY && now >= adoptedAt + D ->
    for (number : 0 .. TAIL) {
      if
      :: number != survivor && AWAKE(number) && IS_PROVEN(number) ->
        printf("   ** %d: %c still has a lease, and %c commits\n", now, NAME(number), NAME(survivor));
        assert(false)
      :: else
      fi
    };
    number = 0
  :: else
  fi
}

#define me (_pid - 1)
#define ACTS (survivor != me && AWAKE(me))

proctype Member() {
  do
  :: d_step { ACTS && me == 0 && HAS_BELOW(me) && ledger[me].newestDown < ROUNDS ->
       number = ledger[me].newestDown + 1;
       passDown(me, number, ledger[me].newestUp); check() }
  :: d_step { ACTS && me > 0 && me <= LEARNER && nempty(down[me - 1]) ->
       if
       :: down[me - 1]?beat,number,echo ->
         if
         :: HAS_ABOVE(me) && number > ledger[me].newestDown ->
           receiveDown(me);
           if
           :: HAS_BELOW(me) -> passDown(me, number, echo)
           :: !HAS_BELOW(me) && ledger[me].newestUp < ROUNDS ->
             echo = number; number = ledger[me].newestUp + 1;
             passUp(me, number, echo)
           :: else
           fi
         :: else
         fi
       :: down[me - 1]?gate,number,echo -> ledger[me].newestUp = LATER(ledger[me].newestUp, number); joined = 1
       :: down[me - 1]?ungate,number,echo -> joined = 0
       fi;
       check() }
  :: d_step { ACTS && me < LEARNER && nempty(up[me + 1]) ->
       up[me + 1]?number,echo;
       if
       :: HAS_BELOW(me) && number > ledger[me].newestUp ->
         receiveUp(me);
         if
         :: HAS_ABOVE(me) -> passUp(me, number, echo)
         :: else
         fi
       :: else
       fi;
       check() }
#if GATES > 0
  :: d_step { ACTS && me == TAIL && gateAt == 0 && gates < GATES && nfull(down[me]) ->
       gates++; gateAt = CLOCK(me); ledger[me].provenBelow = 0;
       down[me]!gate,ledger[me].newestUp,0;
       printf("%d: %c gates %c\n", now, NAME(me), NAME(LEARNER)); check() }
  :: d_step { ACTS && me == TAIL && gateAt != 0 && !sent && nfull(down[me]) ->
       gateAt = 0; ledger[me].provenBelow = 0; down[me]!ungate,0,0;
       printf("%d: %c opens its gate\n", now, NAME(me)); check() }
#endif
  /* It writes the others out of the chain; a learner is admitted first, by the tail that gates it. */
  :: d_step { survivor == NOBODY && AWAKE(me) && (me < MEMBERS || me == LEARNER && gateAt != 0) ->
       survivor = me; adoptedAt = now;
       if
       :: me == LEARNER -> sent = 1
       :: else
       fi;
       printf("%d: %c adopts a chain of itself, and will commit at %d\n", now, NAME(me), adoptedAt + D);
       check() }
#ifdef SUSPENDS
  :: d_step { !suspended[me] && suspends < SUSPENDS -> suspends++; suspended[me] = 1;
       printf("%d: the machine of %c is suspended\n", now, NAME(me)); check() }
  :: d_step { suspended[me] -> suspended[me] = 0; printf("%d: the machine of %c goes on\n", now, NAME(me)); check() }
#endif
  od
}

init {
  atomic {
    run Member();
#if MEMBERS > 1 || GATES > 0
    run Member();
#endif
#if MEMBERS > 2 || MEMBERS == 2 && GATES > 0
    run Member();
#endif
#if MEMBERS > 3 || MEMBERS == 3 && GATES > 0
    run Member();
#endif
  };
  do
  :: d_step { now < END ->
       now++;
#ifdef SUSPENDS
       for (number : 0 .. SERVERS - 1) {
         if
         :: suspended[number] -> slept[number]++
         :: else
         fi
       };
#endif
       check() }
#ifdef REACH_LEASES
  :: d_step { survivor == NOBODY && now > 2 && IS_PROVEN(0) && IS_PROVEN(1) && IS_PROVEN(2) ->
       printf("   ** (to be found) all three members hold a lease\n"); assert(false) }
#endif
  :: false
  od
}
