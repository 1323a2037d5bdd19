/*
 * Leases and holds (R8, R9), without numbers: a lease counts from its start, is proven by one proof of
 * each other member, and may end at any time. A hold ends when every lease that was running when it
 * began has ended: that is D for D, on clocks that run alike. Code: src/replica/chain-lease.ts,
 * Reconfiguration.#holdFor. The arithmetic of beats has its own model, beats.pml.
 */
#ifdef LEASES
byte proofs[SERVERS];         /* a set: who has proven the lease of this server; its own bit: it was started */
byte waitsFor[SERVERS];       /* a set: whose leases this server's hold still waits for */
bit hasAdopted[SERVERS];      /* this process adopted a configuration before */

#define BIT(x) (1 << (x))
#define HOLDS(x) (waitsFor[x] != 0)
#define GATED(x) (server[x].gate != 0 -> BIT(server[x].gate - 1) : 0)

#ifdef NO_R3_OWN_LEASE
#define LEARNER_PROOF(x) 0
#else
#define LEARNER_PROOF(x) GATED(x)
#endif

#define IN_CHAIN(x, y) (LISTS(server[x].config, y) -> BIT(y) : 0)
#if SERVERS == 3
#define ALL_MEMBERS(x) (IN_CHAIN(x, 0) | IN_CHAIN(x, 1) | IN_CHAIN(x, 2))
#else
#define ALL_MEMBERS(x) (IN_CHAIN(x, 0) | IN_CHAIN(x, 1) | IN_CHAIN(x, 2) | IN_CHAIN(x, 3))
#endif
#define NEEDED(x) (ALL_MEMBERS(x) | LEARNER_PROOF(x))

/* A chain of one needs no lease, unless it gates. */
#ifdef NO_R3_SINGLE_LEASE
#define ALONE(x) (server[x].role == SINGLE)
#else
#define ALONE(x) (server[x].role == SINGLE && server[x].gate == 0)
#endif
#define MAY_READ(x) (IS_MEMBER(x) && !server[x].leaving && \
  (ALONE(x) || proofs[x] != 0 && (proofs[x] & NEEDED(x)) == NEEDED(x)))

inline endLease(x) {
  proofs[x] = 0;
  for (k : 0 .. SERVERS - 1) {
    waitsFor[k] = waitsFor[k] & (7 + 8 - BIT(x))
  }
}

inline findRunning() {
  n = 0;
  for (k : 0 .. SERVERS - 1) {
    if
    :: proofs[k] != 0 -> n = n | BIT(k)
    :: else
    fi
  }
}

#define CAN_START_LEASE(x) (IS_MEMBER(x) && !server[x].leaving && !ALONE(x) && proofs[x] != BIT(x))
inline startLease(x) {
  endLease(x);
  proofs[x] = BIT(x);
  printf("%c starts a lease: sends beats\n", NAME(x))
}

/* A member that gates passes beats of others through its learner, if it is not the lease's own. */
#ifdef NO_R3_GATED_BEATS
#define BEATS_PASS(y, x) true
#else
#define BEATS_PASS(y, x) (server[y].gate == 0 || !IS_TAIL(y) || (proofs[x] & GATED(y)) != 0)
#endif
#define CAN_PROVE(y, x) (x != y && proofs[x] != 0 && IS_MEMBER(x) && IS_MEMBER(y) && \
  SAME_EPOCH(x, y) && (proofs[x] & BIT(y)) == 0 && BEATS_PASS(y, x))
#define CAN_LEARNER_PROVE(y, x) (x != y && proofs[x] != 0 && IS_MEMBER(x) && FED(y) && \
  SAME_EPOCH(x, y) && (proofs[x] & BIT(y)) == 0)
inline prove(y, x) {
  proofs[x] = proofs[x] | BIT(y);
  printf("%c proves %c's lease", NAME(y), NAME(x));
  if
  :: MAY_READ(x) -> printf(": it is valid")
  :: else
  fi;
  printf("\n")
}

/* A chain of one that gates: until gate start + D it may read on, as if its learner had proven then. */
#ifdef NO_R3_SINGLE_LEASE
inline closeLeaseOnGate(x, y) { skip }
#else
inline closeLeaseOnGate(x, y) {
  if
  :: server[x].role == SINGLE -> endLease(x); proofs[x] = BIT(x) | BIT(y)
  :: else
  fi
}
#endif

/* R9. Nobody waits for one that left by agreement, or that is known to have restarted. */
#ifdef NO_R10_NAMED
#define LEFT(c, y) (written[c].left != 0)
#else
#define LEFT(c, y) (written[c].left == y + 1)
#endif
#define MISSES(x, base, c, y) (y != x && LISTS(base, y) && !LISTS(c, y) && LISTS_PROCESS(base, y) && !LEFT(c, y))
#if SERVERS == 3
#define MISSES_ANY(x, base, c) (MISSES(x, base, c, 0) || MISSES(x, base, c, 1) || MISSES(x, base, c, 2))
#else
#define MISSES_ANY(x, base, c) \
  (MISSES(x, base, c, 0) || MISSES(x, base, c, 1) || MISSES(x, base, c, 2) || MISSES(x, base, c, 3))
#endif

#ifdef NO_R9_OWN_BASE
#define BASE(x, c) (c - 1)
#else
#define BASE(x, c) (server[x].config)
#endif
#ifdef NO_R9_EVERY_MEMBER
#define HOLDER(x, c) (written[c].place[x] == 1)
#else
#define HOLDER(x, c) true
#endif

inline holdFor(x, c) {
  findRunning();
#ifdef NO_R9_MAX
  waitsFor[x] = 0;
#endif
  if
#ifndef NO_R9_REMOVAL
  :: hasAdopted[x] && HOLDER(x, c) && MISSES_ANY(x, BASE(x, c), c) -> waitsFor[x] = waitsFor[x] | n
#endif
#ifndef NO_R9_FIRST
  :: !IS_MEMBER(x) && LISTS_PROCESS(c, x) -> waitsFor[x] = waitsFor[x] | n
#endif
  :: else
  fi;
  hasAdopted[x] = 1;
  if
  :: HOLDS(x) -> printf("   and holds its commits until older leases have ended\n")
  :: else
  fi
}

inline holdFromStart(x) {
  waitsFor[x] = 0; hasAdopted[x] = 0;
#ifndef NO_R9_START
  findRunning();
  waitsFor[x] = n
#endif
}

inline hasAdoptedFirst(x) { hasAdopted[x] = 1 }

#else
#define HOLDS(x) false
inline endLease(x) { skip }
inline closeLeaseOnGate(x, y) { skip }
inline holdFor(x, c) { skip }
inline holdFromStart(x) { skip }
inline hasAdoptedFirst(x) { skip }
#endif
