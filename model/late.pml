/*
 * A message that arrives late: sent over a connection, held back by the network, delivered at any
 * later time, also after reconfigurations and restarts. One at a time. Code: Replica.#onMessage,
 * Replication.onAck and onAppend: what is dropped there because of its epoch or its connection.
 */
mtype = { nothing, lateAppend, lateAck, lateCommit, lateLearnerAck };

typedef Late {
  mtype kind = nothing;
  byte source; byte target;
  byte incarnation;           /* of the target: a connection ends with its process */
  byte config;                /* the sender's, in the stamp */
  byte seq;
  byte op;                    /* of an append; of an ack, the entry at seq: (seq, epoch) names it */
  byte connection;            /* which of the connections between a learner and its tail */
};
Late late;

inline holdBack(what, sender, receiver, end, entry) {
  late.kind = what; late.source = sender; late.target = receiver;
  late.incarnation = server[receiver].incarnation;
  late.config = server[sender].config;
  late.seq = end; late.op = entry; late.connection = reconnects;
  printf("(%e from %c to %c: seq %d, held back)\n", what, NAME(sender), NAME(receiver), end)
}

inline holdBackAck(x) {
  findProven(x);
  if
  :: n > server[ABOVE(x)].acked ->
#ifdef NO_R3_WHOLE_LOG
    ackedInEpoch[x] = n;
#endif
    holdBack(lateAck, x, ABOVE(x), n, server[x].log[n - 1])
  :: else
  fi
}

#ifdef NO_R6_EPOCH
#define LATE_FITS (EPOCH(late.target) >= written[late.config].epoch)
#else
#define LATE_FITS (server[late.target].config == late.config)
#endif

#define LATE_CONNECTION (late.connection == reconnects)

inline deliver() {
  printf("the late message from %c reaches %c\n", NAME(late.source), NAME(late.target));
  n = late.target;
  if
  :: late.incarnation == server[n].incarnation && LATE_FITS ->
    if
    :: late.kind == lateAppend && server[n].length + 1 == late.seq &&
      (server[n].settled && server[n].above == late.source + 1 ||
        FED(n) && server[n].source == late.source + 1 && LATE_CONNECTION) &&
      (server[n].length == 0 || EPOCH_AT(n, server[n].length) <= epochOfOp[late.op]) ->
      append(n, late.op)
    :: late.kind == lateAck && server[n].below == late.source + 1 && HAS_ENTRY(n, late.seq, late.op) &&
      late.seq > server[n].acked ->
      server[n].acked = late.seq
    :: late.kind == lateCommit && server[n].settled && server[n].above == late.source + 1 &&
      IS_MEMBER(n) && MIN(late.seq, server[n].length) > server[n].commit ->
      common = MIN(late.seq, server[n].length);
      apply(n, common, false)
    :: late.kind == lateLearnerAck && server[n].gate == late.source + 1 && LATE_CONNECTION &&
      HAS_ENTRY(n, late.seq, late.op) && late.seq > server[n].gateAcked ->
      server[n].gateAcked = late.seq
    :: else -> printf("   and is dropped\n")
    fi
  :: else -> printf("   and is dropped\n")
  fi;
  late.kind = nothing; late.source = 0; late.target = 0; late.incarnation = 0; late.config = 0;
  late.seq = 0; late.op = 0; late.connection = 0
}
