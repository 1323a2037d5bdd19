/*
 * The reconfiguration protocol of Catena: log, configurations, admission, leases. Searched by spin
 * through scripts/model.ts (`make model`); model/README.md says how to read it.
 *
 * Every step of a server is one option below: guard -> effect. What a rule is for shows when it is
 * switched off with its -DNO_R...; the bounds and which parts take part are set by the others.
 */
#ifndef SERVERS
#define SERVERS 3             /* A, B, C, D */
#endif
#ifndef FIRST_CHAIN
#define FIRST_CHAIN 3         /* the first so many are the first configuration, the rest are learners */
#endif
#ifndef OPS
#define OPS 2                 /* client writes */
#endif
#ifndef SEQS
#define SEQS OPS              /* entries that a log has room for */
#endif
#ifndef CONFIGURATIONS
#define CONFIGURATIONS 4      /* the first included */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef RECONNECTS
#define RECONNECTS 0          /* times that a learner's connection breaks */
#endif

#include "configuration.pml"
#include "server.pml"
#include "log.pml"
#include "late.pml"
#include "lease.pml"
#include "admission.pml"
#include "reconfiguration.pml"
#include "checks.pml"

#ifdef NO_R3_KEEP_PREFIX
inline wipe(x) {
  for (k : 0 .. SEQS - 1) { server[x].log[k] = 0 }
  server[x].length = 0; server[x].durable = 0; server[x].commit = 0
}
#endif

#ifdef NO_R5_ORDER
#define CAN_SETTLE(x) (!server[x].settled && LINKED_ABOVE(x))
#else
#define CAN_SETTLE(x) (!server[x].settled && LINKED_ABOVE(x) && server[ABOVE(x)].settled)
#endif

#ifdef ZOOKEEPER_GOES_BACK
bit wentBack;
inline goBack() {
  wentBack = 1; chain--;
  admission.from = 0; admission.learner = 0; admission.incarnation = 0;
  printf("ZooKeeper is restored from an older backup\n"); showChain()
}
#endif

#define me (_pid - 1)         /* init is process 0 */

proctype Replica() {
  do
  /* Entries, acks, commits. */
  :: d_step { IS_HEAD(me) && !server[me].leaving && server[me].length < SEQS && ordered < OPS ->
       order(me); done() }
  :: d_step { server[me].durable < server[me].length -> sync(me); done() }
  :: d_step { CAN_SETTLE(me) -> settle(me); done() }
  :: d_step { server[me].settled && LINKED_ABOVE(me) && server[me].length < server[ABOVE(me)].length ->
       takeAppend(me, ABOVE(me)); done() }
  :: d_step { server[me].settled && LINKED_ABOVE(me) && server[me].durable > server[ABOVE(me)].acked ->
       sendAck(me); done() }
  :: d_step { IS_HEAD(me) && !HOLDS(me) && server[me].durable > server[me].commit -> commitAtHead(me); done() }
#ifndef LEASES
  :: d_step { server[me].settled && LINKED_ABOVE(me) && server[ABOVE(me)].commit > server[me].commit ->
       learnCommit(me, ABOVE(me)); done() }
  :: d_step { FED(me) && server[server[me].source - 1].commit > server[me].commit ->
       learnCommit(me, server[me].source - 1); done() }
#endif

  /* Configurations. */
#define ADOPT(c) :: d_step { CAN_ADOPT(me, c) -> read(me, c); done() }
  ADOPT(2)
#if CONFIGURATIONS >= 3
  ADOPT(3)
#endif
#if CONFIGURATIONS >= 4
  ADOPT(4)
#endif
#if CONFIGURATIONS >= 5
  ADOPT(5)
#endif
#define REMOVE(y) :: d_step { CAN_REMOVE(me, y) -> remove(me, y); done() }
  REMOVE(0) REMOVE(1) REMOVE(2)
#if SERVERS == 4
  REMOVE(3)
#endif
  :: d_step { IS_MEMBER(me) && server[me].config == chain && written[chain].size > 2 && MAY_WRITE ->
       removeOthers(me); done() }
#if CRASHES > 0
  :: d_step { crashes < CRASHES -> crash(me); done() }
#define REVIVE(set) :: d_step { CAN_REVIVE(me, set) -> revive(me, set); done() }
  REVIVE(0)
#if CRASHES > 1
  REVIVE(1) REVIVE(2) REVIVE(3) REVIVE(4) REVIVE(5) REVIVE(6)
#if SERVERS == 4
  REVIVE(8) REVIVE(9) REVIVE(10) REVIVE(11) REVIVE(12) REVIVE(13) REVIVE(14)
#endif
#endif
#endif
#ifdef LEAVES
  :: d_step { IS_MEMBER(me) && !server[me].leaving && written[server[me].config].size > 1 ->
       stopServing(me); endLease(me); done() }
  :: d_step { server[me].leaving && IS_MEMBER(me) && server[me].config == chain && written[chain].size > 1 &&
       MAY_WRITE -> leave(me); done() }
#endif

  /* Admission, on either side. */
#ifndef NO_JOINS
#define JOIN(y) :: d_step { CAN_JOIN(me, y) -> join(me, y); done() }
  JOIN(0) JOIN(1) JOIN(2)
#if SERVERS == 4
  JOIN(3)
#endif
  :: d_step { FED(me) && server[me].length < server[server[me].source - 1].length ->
       takeAppend(me, server[me].source - 1); done() }
  :: d_step { FED(me) && server[me].durable > server[server[me].source - 1].gateAcked -> learnerAck(me); done() }
  :: d_step { CAN_ADMIT(me) -> sendAdmission(me); done() }
  :: d_step { CAN_OPEN_GATE(me) -> openGate(me); printf("%c opens its gate\n", NAME(me)); done() }
  :: d_step { server[me].sent && server[me].config == chain && MAY_WRITE -> fence(me); done() }
#if RECONNECTS > 0
  :: d_step { FED(me) && reconnects < RECONNECTS -> breakConnection(me); done() }
#endif
#endif

#ifdef LEASES
  :: d_step { CAN_START_LEASE(me) -> startLease(me); done() }
#define PROVE(x) \
  :: d_step { CAN_PROVE(me, x) -> prove(me, x); done() } \
  :: d_step { CAN_LEARNER_PROVE(me, x) -> prove(me, x); done() }
  PROVE(0) PROVE(1) PROVE(2)
#if SERVERS == 4
  PROVE(3)
#endif
  :: d_step { proofs[me] != 0 -> endLease(me); printf("%c's lease ends\n", NAME(me)); done() }
#endif

#ifdef LATE
  /* A message that this server sends is held back. */
  :: d_step { late.kind == nothing && server[me].below != 0 && LINKED_ABOVE(BELOW(me)) &&
       server[BELOW(me)].settled && server[me].length > server[BELOW(me)].length ->
       holdBack(lateAppend, me, BELOW(me), server[BELOW(me)].length + 1, server[me].log[server[BELOW(me)].length]);
       done() }
  :: d_step { late.kind == nothing && server[me].settled && LINKED_ABOVE(me) &&
       server[me].durable > server[ABOVE(me)].acked -> holdBackAck(me); done() }
  :: d_step { late.kind == nothing && server[me].below != 0 && LINKED_ABOVE(BELOW(me)) &&
       server[BELOW(me)].settled && server[me].commit > server[BELOW(me)].commit ->
       holdBack(lateCommit, me, BELOW(me), server[me].commit, 0); done() }
  :: d_step { late.kind == nothing && FED(me) && server[me].durable > server[server[me].source - 1].gateAcked ->
       holdBack(lateLearnerAck, me, server[me].source - 1, server[me].durable, server[me].log[server[me].durable - 1]);
       done() }
#endif

#ifdef VERIFY
#define ASK(op) :: d_step { CAN_SAY_NEVER(me, op) -> sayNever(me, op); done() }
  ASK(1) ASK(2)
#endif

#ifdef NO_R1_KEEP
#define REPLACE(y) :: d_step { IS_MEMBER(me) && server[me].config == chain && !LISTS(chain, y) && MAY_WRITE -> \
    replaceAll(me, y); done() }
  REPLACE(0) REPLACE(1) REPLACE(2)
#endif
#ifdef NO_R1_MEMBER
  :: d_step { server[me].config == chain && !LISTS(chain, me) && MAY_WRITE -> replaceAll(me, me); done() }
#endif
#ifdef NO_R10_SILENT
  :: d_step { server[me].leaving && IS_MEMBER(me) -> server[me].leaving = 0; printf("%c serves again\n", NAME(me)); done() }
#endif
  od
}

init {
  atomic {
    d_step {
      written[1].epoch = 1; written[1].size = FIRST_CHAIN;
      for (i : 0 .. FIRST_CHAIN - 1) { written[1].place[i] = i + 1 }
      for (common : 0 .. SERVERS - 1) {
        server[common].config = 1;
        takeRole(common);
        hasAdoptedFirst(common);
        if
        :: IS_MEMBER(common) -> server[common].settled = 1; server[common].settledEpoch = 1
        :: else
        fi
      }
      i = 0; n = 0; common = 0
    };
    run Replica(); run Replica(); run Replica();
#if SERVERS == 4
    run Replica();
#endif
  };
  do
#ifndef NO_JOINS
  :: d_step { admission.from != 0 -> landAdmission(); done() }
#endif
#ifdef LATE
  :: d_step { late.kind != nothing -> deliver(); done() }
#endif
#ifdef ZOOKEEPER_GOES_BACK
  :: d_step { !wentBack && chain > 1 && MAY_WRITE -> goBack(); done() }
#endif
#ifndef ZOOKEEPER_GOES_BACK
  :: d_step { ANY(LACKS_ON_DISK) -> violated("an acknowledged write is missing on a server that may lead") }
  :: d_step { ANY(READS_STALE) -> violated("a server has a valid lease and lacks an acknowledged write: a stale read") }
#endif
#ifdef REACH_RECOVERY
  :: d_step { RECOVERED -> violated("(to be found) a restarted member is back and up to date, after the last write") }
#endif
#ifdef REACH_ADMISSION
  :: d_step { ADMITTED -> violated("(to be found) a learner was admitted, and writes are acknowledged with it") }
#endif
  :: false
  od
}
