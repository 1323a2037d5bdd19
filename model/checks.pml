/*
 * What must hold in every state. The variables here are the observer's: no server reads them.
 */
byte committed;               /* writes that were acknowledged to clients */
byte committedOp[SEQS];       /* and which, in order */
byte ackingHead[CONFIGURATIONS + 1]; /* 1 + the process that acknowledged in this epoch */
#ifdef VERIFY
byte saidNever;               /* a set of ops of which a client was told that they never execute */
#define SAID_NEVER saidNever
#else
#define SAID_NEVER 0
#endif

/* Two heads never acknowledge in one epoch; what is committed once stays; nobody applies what no head committed. */
#ifdef ZOOKEEPER_GOES_BACK
inline apply(x, end, atHead) { server[x].commit = end }
#else
inline apply(x, end, atHead) {
  k = server[x].commit;
  do
  :: k < end ->
    if
    :: k < committed && server[x].log[k] != committedOp[k] ->
      violated("a server applies another op than the one that was committed")
    :: k >= committed && !atHead -> violated("a server applies what no head committed")
    :: k >= committed && atHead ->
      committedOp[k] = server[x].log[k];
      committed = k + 1;
      if
      :: (SAID_NEVER >> committedOp[k]) & 1 -> violated("an op is committed of which `verify` said never")
      :: ackingHead[EPOCH(x)] != 0 && ackingHead[EPOCH(x)] != 1 + x + SERVERS * server[x].incarnation ->
        violated("two heads acknowledge in one epoch")
      :: else
      fi;
      ackingHead[EPOCH(x)] = 1 + x + SERVERS * server[x].incarnation
    :: else
    fi;
    k++
  :: else -> break
  od;
  server[x].commit = end
}
#endif

/* `held` is durable or length. The n-th acknowledged write is missing, or another op is in its place. */
#define DIFFERS(x, held, at) \
  (committed > at && (server[x].held <= at || server[x].log[at] != committedOp[at]))
#if SEQS == 1
#define LACKS(x, held) (DIFFERS(x, held, 0))
#else
#if SEQS == 2
#define LACKS(x, held) (DIFFERS(x, held, 0) || DIFFERS(x, held, 1))
#else
#define LACKS(x, held) (DIFFERS(x, held, 0) || DIFFERS(x, held, 1) || DIFFERS(x, held, 2))
#endif
#endif

#if SERVERS == 3
#define ANY(WHAT) (WHAT(0) || WHAT(1) || WHAT(2))
#else
#define ANY(WHAT) (WHAT(0) || WHAT(1) || WHAT(2) || WHAT(3))
#endif

/* Any server of the last configuration may lead next, also a restarted one: its disk has every acknowledged write. */
#ifdef NO_R14_NAME
/* A server whose disk was lost is missed only once it may act, which is when it is listed again. */
#define LACKS_ON_DISK(x) (LISTS_PROCESS(chain, x) && LACKS(x, durable))
#else
#define LACKS_ON_DISK(x) (LISTS(chain, x) && LACKS(x, durable))
#endif

/* Who may read has every acknowledged write in its log; what is not applied yet, the read waits for. */
#ifdef LEASES
#define READS_STALE(x) (MAY_READ(x) && LACKS(x, length))
#define HAS_LEASE(x) MAY_READ(x)
#else
#define READS_STALE(x) false
#define HAS_LEASE(x) true
#endif

/* Good things can happen: these are to be found, as "violations", or the model would be empty talk. */
#define ALL_IN_LAST_EPOCH (committed == OPS && epochOfOp[committedOp[OPS - 1]] == written[chain].epoch)
#define IS_BACK_WITH_ALL(x) (server[x].incarnation > 0 && server[x].config == chain && IS_MEMBER(x) && \
  server[x].durable == committed && HAS_LEASE(x))
#define RECOVERED (writes == CONFIGURATIONS && written[chain].size > 1 && ALL_IN_LAST_EPOCH && ANY(IS_BACK_WITH_ALL))
#define ADMITTED (written[chain].size > FIRST_CHAIN && ALL_IN_LAST_EPOCH)

#ifdef VERIFY
/* `verify`, as Replica.verify answers it from what is committed here; the broken rule asks the whole log. */
#ifdef NO_VERIFY_COMMITTED
#define VERIFIED(x) (server[x].length)
#else
#define VERIFIED(x) (server[x].commit)
#endif
#define CAN_SAY_NEVER(x, op) (op <= ordered && IS_MEMBER(x) && EPOCH(x) >= epochOfOp[op] && \
  ((saidNever >> op) & 1) == 0 && VERIFIED(x) > 0 && \
  (VERIFIED(x) > seqOfOp[op] && EPOCH_AT(x, seqOfOp[op] + 1) != epochOfOp[op] || \
    VERIFIED(x) <= seqOfOp[op] && EPOCH_AT(x, VERIFIED(x)) > epochOfOp[op]))
inline sayNever(x, number) {
  saidNever = saidNever | (1 << number);
  printf("%c says that w%d will never be executed\n", NAME(x), number);
  for (k : 0 .. SEQS - 1) {
    if
    :: k < committed && committedOp[k] == number -> violated("`verify` said never of an op that was executed")
    :: else
    fi
  }
}
#endif

/* Scratch goes back to 0 after each step. */
inline done() { i = 0; k = 0; n = 0; common = 0 }
