/*
 * A learner becomes the new tail (R3). The tail matches the learner's log to its own, closes its gate
 * on it, and sends a compare-and-set once the learner has acked all that was in the tail's log when the
 * gate closed. Code: src/replica/admission.ts, learning.ts, reconfiguration.ts ('admission', 'fence').
 *
 * Feeding begins here when the gate closes: a learner that was fed before is one whose gate opened again.
 */
#ifdef NO_R3_WHOLE_LOG
byte ackedInEpoch[SERVERS];   /* what the broken rule takes for "all that the tail acked" */
#endif

/* A gate that no admission can follow is of interest only for what the learner applies. */
#ifdef GATE_LAST
#define GATES_AT_THE_END true
#else
#define GATES_AT_THE_END false
#endif

#ifdef NO_R3_SETTLED
#define IS_SETTLED_TAIL(x) IS_TAIL(x)
#else
#define IS_SETTLED_TAIL(x) (IS_TAIL(x) && server[x].settled)
#endif

/* The gate is open, or it is this very learner's and the connection broke (Admission.#resumeGate). */
#define CAN_JOIN(x, y) (x != y && !HALTED(y) && IS_SETTLED_TAIL(x) && !server[x].leaving && \
  server[y].role == LEARNER && SAME_EPOCH(x, y) && !LISTS(server[x].config, y) && !FED(y) && \
  (server[x].gate == 0 && (MAY_WRITE || GATES_AT_THE_END) || \
    server[x].gate == y + 1 && server[x].gateIncarnation == server[y].incarnation))

inline join(x, y) {
  findCommon(x, y);
#ifdef NO_R3_KEEP_PREFIX
  common = 0;
#endif
  printf("%c joins %c: the logs agree up to seq %d; %c gates it\n", NAME(y), NAME(x), common, NAME(x));
#ifdef NO_R3_KEEP_PREFIX
  wipe(y);
#else
  cut(y, common);
#endif
  server[y].source = x + 1;
  if
  :: server[x].gate == 0 ->
    server[x].gate = y + 1;
    server[x].gateIncarnation = server[y].incarnation;
#ifdef NO_R3_WHOLE_LOG
    server[x].gateEnd = ackedInEpoch[x];
#else
    server[x].gateEnd = server[x].length;
#endif
    closeLeaseOnGate(x, y)
  :: else -> server[x].gateAcked = 0
  fi
}

inline breakConnection(y) {
  reconnects++;
  server[y].source = 0;
  printf("the connection of learner %c breaks\n", NAME(y))
}

inline learnerAck(y) {
  n = server[y].source - 1;
  printf("learner %c acks to %c up to seq %d\n", NAME(y), NAME(n), server[y].durable);
  server[n].gateAcked = server[y].durable
}

#define CAN_ADMIT(x) (IS_TAIL(x) && server[x].gate != 0 && server[x].config == chain && \
  admission.from == 0 && MAY_WRITE && \
  (server[x].gateAcked >= server[x].gateEnd || GATE_IS_OFF))
#ifdef NO_R3_GATE
#define GATE_IS_OFF true
#else
#define GATE_IS_OFF false
#endif

inline sendAdmission(x) {
  server[x].sent = 1;
  admission.from = chain;
  admission.learner = server[x].gate - 1;
  admission.incarnation = server[x].gateIncarnation;
  printf("%c sends the compare-and-set that admits %c%d\n", NAME(x), NAME(admission.learner),
    admission.incarnation)
}

inline landAdmission() {
  printf("the compare-and-set that admits %c%d lands\n", NAME(admission.learner), admission.incarnation);
  copyChain();
  addMember(admission.learner, admission.incarnation);
  putChain(); showChain()
}

/* The admission is in doubt: another compare-and-set, of the same members, decides it either way. */
inline fence(x) {
  printf("%c writes a fence: the same members, in another epoch\n", NAME(x));
  copyChain(); putChain(); showChain()
}

/* The gate opens if no compare-and-set was sent; else only an adoption ends it. */
#ifdef NO_R3_KEEP_GATE
#define CAN_OPEN_GATE(x) (server[x].gate != 0 && (!server[x].sent || server[x].config == chain))
#else
#define CAN_OPEN_GATE(x) (server[x].gate != 0 && !server[x].sent)
#endif
