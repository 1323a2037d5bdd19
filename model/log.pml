/*
 * The way of an entry down the chain and of its acks back up (R5 settling, R6, R7).
 * Code: src/replica/replication.ts, sender.ts, epoch-runs.ts.
 *
 * Between servers in one epoch a message arrives at once, in the state of its sender at that moment.
 * Besides, one message at a time may be held back (late.pml) and arrive at any later time.
 */

/* The common prefix of two logs, as the servers find it: by (seq, epoch). */
inline findCommon(x, y) {
  common = MIN(server[x].length, server[y].length);
  do
  :: common > 0 && EPOCH_AT(x, common) != EPOCH_AT(y, common) -> common--
  :: else -> break
  od;
  k = 0;
  do
  :: k < common && server[x].log[k] != server[y].log[k] ->
    violated("two logs hold different ops under one (seq, epoch)"); break
  :: k < common && server[x].log[k] == server[y].log[k] -> k++
  :: else -> break
  od
}

/* A server that was removed may lose what was committed without it; who may lead may not (checks.pml). */
inline cut(x, end) {
  if
  :: end < server[x].commit -> halt(x, "halt: a cut below the own commit index")
  :: else
  fi;
  for (k : 0 .. SEQS - 1) {
    if
    :: k >= end -> server[x].log[k] = 0
    :: else
    fi
  }
  server[x].length = MIN(server[x].length, end);
  server[x].durable = MIN(server[x].durable, end)
}

inline append(x, number) {
  server[x].log[server[x].length] = number;
  server[x].length++;
#ifdef SYNC_AT_ONCE
  server[x].durable = server[x].length
#endif
}

#ifdef ZOOKEEPER_GOES_BACK
#define TWICE(a, b) false     /* to be expected then; that they never meet is what is checked */
#else
#define TWICE(a, b) (epochOfOp[a] == epochOfOp[b] && seqOfOp[a] == seqOfOp[b])
#endif

/* The head gives a client's op its (epoch, seq). */
inline order(x) {
  ordered++;
  epochOfOp[ordered] = EPOCH(x); seqOfOp[ordered] = server[x].length;
  k = 1;
  do
  :: k < ordered ->
    if
    :: TWICE(k, ordered) -> violated("one (epoch, seq) was given to two ops")
    :: else
    fi;
    k++
  :: else -> break
  od;
  append(x, ordered);
  printf("%c orders w%d at seq %d of epoch %d\n", NAME(x), ordered, server[x].length, EPOCH(x))
}

inline sync(x) {
  server[x].durable = server[x].length;
  printf("%c syncs its log, up to seq %d\n", NAME(x), server[x].durable)
}

/* hello, hello-answer, settle: what the successor has beyond or against its predecessor's log is cut. */
inline settle(x) {
  findCommon(x, ABOVE(x));
  printf("%c says hello to %c: their logs agree up to seq %d\n", NAME(ABOVE(x)), NAME(x), common);
  if
#ifdef NO_R5_AHEAD
  :: common < server[x].length && common == server[ABOVE(x)].length
#endif
  :: common == server[x].length
#ifdef NO_R5_RESTART_EPOCH
  :: common < server[x].length ->
    halt(x, "halt: the predecessor's log ends or differs before mine")
#else
#ifdef NO_R5_AHEAD
  :: common < server[x].length && common < server[ABOVE(x)].length ->
#else
  :: common < server[x].length ->
#endif
    if
    :: server[x].settledEpoch < written[server[x].config].restartEpoch -> cut(x, common)
    :: else -> halt(x, "halt: the predecessor's log ends or differs before mine, and no restart explains it")
    fi
#endif
  fi;
  server[x].settled = 1;
  server[x].settledEpoch = EPOCH(x)
}

inline takeAppend(x, y) {
  append(x, server[y].log[server[x].length]);
  printf("%c appends seq %d (w%d) from %c\n", NAME(x), server[x].length,
    server[x].log[server[x].length - 1], NAME(y))
}

/* What this member may ack: own disk, its successor's ack, the gated learner's ack. -> n */
inline findProven(x) {
  n = server[x].durable;
  if
  :: server[x].below != 0 -> n = MIN(n, server[x].acked)
  :: else
  fi;
#ifndef NO_R3_GATE
  if
  :: server[x].gate != 0 -> n = MIN(n, server[x].gateAcked)
  :: else
  fi
#endif
}

/* An ack names the entry, by (seq, epoch), and counts only if the receiver has that very entry. */
#ifdef NO_R7_ENTRY
#define HAS_ENTRY(x, seq, op) true
#else
#define HAS_ENTRY(x, seq, op) (server[x].length >= seq && EPOCH_AT(x, seq) == epochOfOp[op])
#endif

inline sendAck(x) {
  findProven(x);
  if
  :: n > server[ABOVE(x)].acked && HAS_ENTRY(ABOVE(x), n, server[x].log[n - 1]) ->
    server[ABOVE(x)].acked = n;
#ifdef NO_R3_WHOLE_LOG
    ackedInEpoch[x] = n;
#endif
    printf("%c acks to %c up to seq %d\n", NAME(x), NAME(ABOVE(x)), n)
  :: else
  fi
}

/* The head commits what all have proven; the client has its answer. Not before its hold is over (R9). */
inline commitAtHead(x) {
  findProven(x);
  n = MIN(n, server[x].length);
  if
  :: n > server[x].commit ->
    printf("%c commits up to seq %d\n", NAME(x), n);
    apply(x, n, true);
#ifdef NO_R3_WHOLE_LOG
    ackedInEpoch[x] = n
#endif
  :: else
  fi
}

inline learnCommit(x, y) {
  n = MIN(server[y].commit, server[x].length);
  if
  :: n > server[x].commit ->
    if
    :: IS_MEMBER(x) && n > server[x].durable -> halt(x, "halt: committed, and not durable at a member")
    :: else
    fi;
    printf("%c learns from %c that seq %d is committed\n", NAME(x), NAME(y), n);
    apply(x, n, false)
  :: else
  fi
}
