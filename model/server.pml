/*
 * One server: what it has on disk, what it adopted, its place in the chain. Code: src/replica/core.ts.
 * A server that is down is one that takes no step; a crash is that and the start of the next process.
 *
 * An entry is the number of the client's op in it. The servers compare entries by (seq, epoch) only;
 * that equal (seq, epoch) means the same op is an invariant, and is checked (log.pml).
 */
mtype = { LEARNER, HEAD, MIDDLE, TAIL, SINGLE };

typedef Server {
  /* On disk. */
  byte log[SEQS];
  unsigned durable : 3;       /* this many entries are synced */
  unsigned config : 3;        /* the configuration adopted last: its epoch and configId */
  /* Lost in a crash. */
  unsigned incarnation : 3;   /* of the process; counts up */
  unsigned length : 3;        /* entries in the log, synced or not */
  unsigned commit : 3;
  mtype role = LEARNER;
  unsigned above : 3;         /* 1 + the predecessor, 0: none */
  unsigned below : 3;         /* 1 + the successor, 0: none */
  bit settled;                /* the log agrees with the predecessor's, in this epoch */
  unsigned settledEpoch : 3;
  unsigned acked : 3;         /* by the successor, in this epoch, on this connection */
  /* The tail's gate (admission.pml). */
  unsigned gate : 3;          /* 1 + the learner, 0: open */
  unsigned gateIncarnation : 3;
  unsigned gateEnd : 3;       /* all that was in the log when the gate closed */
  unsigned gateAcked : 3;
  bit sent;                   /* a compare-and-set of this admission was sent */
  unsigned source : 3;        /* a learner's: 1 + the tail that feeds it, 0: none */
  bit leaving;                /* R10: serves no more */
};
Server server[SERVERS];

byte epochOfOp[OPS + 1];      /* the epoch in which the op was ordered, for good */
byte seqOfOp[OPS + 1];
byte ordered;                 /* ops so far */
byte crashes;
byte reconnects;

/* Scratch; 0 between steps, so that they add no states. */
byte i, k, n, common;

#define EPOCH(x)      (written[server[x].config].epoch)
#define IS_MEMBER(x)  (server[x].role != LEARNER)
#define IS_HEAD(x)    (server[x].role == HEAD || server[x].role == SINGLE)
#define IS_TAIL(x)    (server[x].role == TAIL || server[x].role == SINGLE)
#define ABOVE(x)      (server[x].above - 1)
#define BELOW(x)      (server[x].below - 1)
#define EPOCH_AT(x, seq) (epochOfOp[server[x].log[(seq) - 1]])
#define MIN(a, b)     ((a) < (b) -> (a) : (b))

/* R6, R4: a message is looked into only in the receiver's epoch and configuration. */
#ifdef NO_R4_CONFIG_ID
#define SAME_EPOCH(x, y) (EPOCH(x) == EPOCH(y))
#else
#define SAME_EPOCH(x, y) (server[x].config == server[y].config)
#endif

/* Predecessor and successor that know each other as such. */
#define LINKED_ABOVE(x) \
  (server[x].above != 0 && SAME_EPOCH(x, ABOVE(x)) && server[ABOVE(x)].below == x + 1)

/* The tail that feeds this learner, and has its gate closed on this very process of it. */
#define FED(x) (server[x].source != 0 && server[server[x].source - 1].gate == x + 1 && \
  server[server[x].source - 1].gateIncarnation == server[x].incarnation && \
  SAME_EPOCH(x, server[x].source - 1))

#define NAME(x) ('A' + x)

#define violated(text) printf("   ** "); printf(text); printf("\n"); assert(false)

/* A server that halts is an error, since nothing is served then; but where ZooKeeper forgot, it is the way out. */
#ifdef ZOOKEEPER_GOES_BACK
bit halted[SERVERS];
#define HALTED(x) halted[x]
#define halt(x, text) halted[x] = 1; server[x].role = LEARNER; server[x].above = 0; server[x].below = 0
#else
#define HALTED(x) false
#define halt(x, text) violated(text)
#endif

inline openGate(x) {
  if
  :: server[x].gate != 0 && server[server[x].gate - 1].source == x + 1 -> server[server[x].gate - 1].source = 0
  :: else
  fi;
  server[x].gate = 0; server[x].gateIncarnation = 0; server[x].gateEnd = 0;
  server[x].gateAcked = 0; server[x].sent = 0
}

/* Another epoch or another process: nothing volatile of the one before counts (Replica.#onAdopted). */
inline forget(x) {
  openGate(x);
  server[x].settled = 0; server[x].acked = 0; server[x].source = 0
}

/* The role that the adopted configuration gives this process: becomeHead ... becomeLearner. */
inline takeRole(x) {
  server[x].above = 0; server[x].below = 0; server[x].role = LEARNER;
  if
#ifdef NO_R11_INCARNATION
  :: LISTS(server[x].config, x) ->
#else
  :: LISTS_PROCESS(server[x].config, x) ->
#endif
    n = written[server[x].config].place[x];
    for (i : 0 .. SERVERS - 1) {
      if
      :: written[server[x].config].place[i] != 0 && written[server[x].config].place[i] + 1 == n ->
        server[x].above = i + 1
      :: written[server[x].config].place[i] == n + 1 -> server[x].below = i + 1
      :: else
      fi
    }
    if
    :: server[x].above == 0 && server[x].below == 0 -> server[x].role = SINGLE
    :: server[x].above == 0 && server[x].below != 0 -> server[x].role = HEAD
    :: server[x].above != 0 && server[x].below != 0 -> server[x].role = MIDDLE
    :: else -> server[x].role = TAIL
    fi;
    if
    :: IS_HEAD(x) -> server[x].settled = 1; server[x].settledEpoch = EPOCH(x)
    :: else
    fi
  :: else
  fi
}
