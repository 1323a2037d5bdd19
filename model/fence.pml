/*
 * The compare-and-set whose answer is lost (R3, R4): a tail admits a learner, and does not know whether
 * ZooKeeper has written it or will. Its gate stays closed until `/chain` has changed; a second
 * compare-and-set on the same version, the fence, sees to that. Several requests may be under way, in any order.
 * An operator's `recover` writes by `set`, so that the versions go on.
 *
 * Code: src/replica/admission.ts, reconfiguration.ts (#proposal, onProposed), src/server/operator-recovery.ts.
 * Also checked: a gate is never closed for ever (an end state with a closed gate is an error).
 */
#ifndef VERSIONS
#define VERSIONS 4
#endif
#define REQUESTS 3

typedef Request {
  bit isSent;
  byte version;               /* it passes if `/chain` has this version */
  bit lists;                  /* the configuration in it lists the learner */
  bit complete;               /* the write was in the log that the learner had to ack first */
};
Request request[REQUESTS];
/* `/chain` */
byte version; bit lists; bit complete;
/* The tail: what it adopted, its gate. */
byte adopted; bit adoptedLists;
bit isGated; bit sent;        /* sent: a compare-and-set of the admission may still land */
bit gateComplete;
byte proposal = REQUESTS;     /* the one whose answer it waits for */
bit learnerIsGone;
bit acked;                    /* a write was acknowledged without the learner */
bit recovered;
byte reads;

inline check() {
  if
  :: lists && acked && !complete ->
    printf("   ** the chain lists a learner that lacks an acknowledged write\n"); assert(false)
  :: else
  fi
}

inline propose(r, withLearner) {
  request[r].isSent = 1; request[r].version = adopted; request[r].lists = withLearner;
  request[r].complete = gateComplete;
  proposal = r
}

inline clear(r) { request[r].isSent = 0; request[r].version = 0; request[r].lists = 0; request[r].complete = 0 }

inline adoptChain() {
  adopted = version; adoptedLists = lists;
  isGated = 0; sent = 0; gateComplete = 0;
  printf("the tail adopts version %d, with the learner: %d; its gate is over\n", version, lists)
}

#define CAN_PROPOSE(r) (!request[r].isSent && proposal == REQUESTS && isGated)
#define EACH(r) \
  :: d_step { CAN_PROPOSE(r) && !learnerIsGone && version < VERSIONS -> propose(r, 1); sent = 1; \
       printf("the tail sends an admission on version %d\n", adopted); check() } \
  FENCE(r) \
  :: d_step { request[r].isSent && proposal == r -> proposal = REQUESTS; \
       printf("the answer to request %d is lost\n", r); check() }
#ifdef NO_R3_FENCE
#define FENCE(r)
#else
#define FENCE(r) \
  :: d_step { CAN_PROPOSE(r) && sent && version < VERSIONS -> propose(r, 0); OPENS_BY_FENCE; \
       printf("the tail sends a fence on version %d\n", adopted); check() }
#endif
#ifdef NO_R3_FENCE_ANSWER
#define OPENS_BY_FENCE isGated = 0; sent = 0
#else
#define OPENS_BY_FENCE skip
#endif

active proctype Tail() {
end_open:
  do
  :: d_step { !isGated && !adoptedLists && !learnerIsGone && version < VERSIONS ->
       isGated = 1; sent = 0; gateComplete = acked; printf("the tail gates the learner\n"); check() }
  :: d_step { isGated && !sent -> isGated = 0; gateComplete = 0; printf("the gate opens: nothing was sent\n"); check() }
  :: d_step { !isGated && !adoptedLists && !acked -> acked = 1; printf("a write is acked without the learner\n"); check() }
  EACH(0) EACH(1) EACH(2)
  :: d_step { adopted != version && version != 0 -> adoptChain(); check() }
#ifdef NO_R3_KEEP_GATE
  :: d_step { sent && proposal == REQUESTS -> isGated = 0; sent = 0;
       printf("the tail reads the old version and opens its gate\n"); check() }
#endif
  :: d_step { !learnerIsGone -> learnerIsGone = 1; printf("the learner is gone\n"); check() }
  /* Nothing else can happen any more. */
  :: timeout ->
       if
       :: isGated && version < VERSIONS -> printf("   ** the gate is closed for ever\n"); assert(false)
       :: else -> break
       fi
  od
}

#define LAND(r) \
  :: d_step { request[r].isSent -> \
       if \
       :: request[r].version == version -> version++; lists = request[r].lists; complete = request[r].complete; \
         printf("request %d lands: version %d, with the learner: %d\n", r, version, lists) \
       :: else -> printf("request %d comes too late\n", r) \
       fi; \
       if \
       :: proposal == r -> proposal = REQUESTS \
       :: else \
       fi; \
       clear(r); check() } \
  :: d_step { request[r].isSent && proposal != r -> clear(r); printf("request %d is lost\n", r); check() }

active proctype ZooKeeper() {
end:
  do
  LAND(0) LAND(1) LAND(2)
#ifdef RECOVERS
  /* Every server is stopped; the operator carries on with the tail's data, in a chain of itself. */
  :: d_step { !recovered && version > 0 && version < VERSIONS -> recovered = 1;
#ifdef NO_R4_RECOVER_BY_SET
       version = 0;
#else
       version++;
#endif
       lists = 0; complete = 0; proposal = REQUESTS;
       printf("the operator recovers: version %d\n", version);
       adoptChain(); check() }
#endif
  od
}
