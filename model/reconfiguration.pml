/*
 * Adoption, and who writes the next configuration: removal (R2), revival (R5), leave (R10).
 * Code: src/replica/reconfiguration.ts, revival.ts; membership.ts.
 *
 * Nothing here asks whether a suspicion is right: any member may be removed and any restarted member may
 * revive the chain at any time. A reader of `/chain` may be given any content that it ever had, and who
 * wrote it may learn so at any later time. So a removal that is under way for long is one that is adopted late.
 */
#define CAN_ADOPT(x, c) (!HALTED(x) && c <= writes && written[c].epoch > EPOCH(x))

/* R4: what this server had adopted must be an ancestor of what it reads, or ZooKeeper went back in between. */
#if defined(ZOOKEEPER_GOES_BACK) && !defined(NO_R4_LINEAGE)
inline findAncestor(x, c) {
  n = c;
  do
  :: written[n].epoch > EPOCH(x) -> n = written[n].previous
  :: else -> break
  od
}
#else
inline findAncestor(x, c) { n = server[x].config }
#endif

inline read(x, c) {
  findAncestor(x, c);
  if
  :: n == server[x].config -> adopt(x, c)
  :: else ->
    printf("%c reads epoch %d (configuration %d), which does not come from its own\n", NAME(x),
      written[c].epoch, c);
    halt(x, "halt: ZooKeeper went back")
  fi
}

inline adopt(x, c) {
  printf("%c adopts epoch %d (configuration %d)\n", NAME(x), written[c].epoch, c);
  holdFor(x, c);
  server[x].config = c;
  server[x].leaving = 0;
  forget(x);
#ifdef NO_R3_WHOLE_LOG
  ackedInEpoch[x] = 0;
#endif
  takeRole(x);
  endLease(x)
}

/* Only who has adopted what `/chain` holds proposes; its compare-and-set would fail otherwise. */
#define CAN_REMOVE(x, y) (x != y && IS_MEMBER(x) && server[x].config == chain && LISTS(chain, y) && MAY_WRITE)

inline remove(x, y) {
  printf("%c suspects %c and writes it out of the chain\n", NAME(x), NAME(y));
  copyChain(); dropMember(y); putChain(); showChain()
}

inline removeOthers(x) {
  printf("%c suspects all the others and writes a chain of itself\n", NAME(x));
  copyChain();
  for (k : 0 .. SERVERS - 1) {
    if
    :: k != x && written[writes].place[k] != 0 -> dropMember(k)
    :: else
    fi
  }
  putChain(); showChain()
}

/* R5: the last configuration lists this server, as it was before its restart. `back`: a set of others
   that have restarted too. They form a chain in the old order; the rest is dropped. */
#define IN(set, y)        (((set) >> (y)) & 1)
#define IS_BACK(set, y)   (!IN(set, y) || LISTS(chain, y) && !LISTS_PROCESS(chain, y))
#define CAN_REVIVE(x, set) (!HALTED(x) && !IN(set, x) && server[x].config == chain && LISTS(chain, x) && \
  !LISTS_PROCESS(chain, x) && MAY_WRITE && \
  IS_BACK(set, 0) && IS_BACK(set, 1) && IS_BACK(set, 2) && IS_BACK(set, SERVERS - 1))

inline revive(x, set) {
  printf("%c, restarted, writes a chain of those that are back\n", NAME(x));
  copyChain();
  for (k : 0 .. SERVERS - 1) {
    if
    :: written[writes].place[k] != 0 && k != x && !IN(set, k) -> dropMember(k)
    :: written[writes].place[k] != 0 && (k == x || IN(set, k)) ->
      written[writes].incarnation[k] = server[k].incarnation
    :: else
    fi
  }
  written[writes].restartEpoch = written[writes].epoch;
  putChain(); showChain()
}

inline crash(x) {
  crashes++;
  server[x].incarnation++;
  printf("%c crashes and restarts", NAME(x));
  if
  :: server[x].durable < server[x].length -> printf(", without what was not synced")
  :: else
  fi;
  printf("\n");
#ifdef NO_R14_NAME
  server[x].durable = 0;      /* the disk was lost, the server keeps its name */
#endif
  for (k : 0 .. SEQS - 1) {
    if
    :: k >= server[x].durable -> server[x].log[k] = 0
    :: else
    fi
  }
  server[x].length = server[x].durable;
  server[x].commit = 0; server[x].settledEpoch = 0; server[x].leaving = 0;
#ifdef NO_R7_PERSIST
  server[x].config = 1;
#endif
  forget(x);
#ifdef NO_R3_WHOLE_LOG
  ackedInEpoch[x] = 0;
#endif
  takeRole(x);
  endLease(x);
  holdFromStart(x)
}

/* Rules switched off: a configuration without any old member, and one by a server that was in none. */
inline replaceAll(x, y) {
  printf("%c writes a chain that keeps no old member: %c\n", NAME(x), NAME(y));
  copyChain();
  for (k : 0 .. SERVERS - 1) {
    if
    :: written[writes].place[k] != 0 -> dropMember(k)
    :: else
    fi
  }
  addMember(y, server[y].incarnation); putChain(); showChain()
}

/* R10. The leaver serves no more, then has itself written out and named. */
inline stopServing(x) {
  server[x].leaving = 1; printf("%c stops serving, to leave\n", NAME(x))
}

inline leave(x) {
  printf("%c writes itself out of the chain, by name\n", NAME(x));
  copyChain(); dropMember(x); written[writes].left = x + 1; putChain(); showChain()
}
