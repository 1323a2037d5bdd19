/*
 * What ZooKeeper holds: `/chain` and every content that it ever had, since a reader may be given an
 * old one. Code: src/coordination/configuration.ts, membership.ts.
 *
 * A configuration is known by its number in `written`: that number is its random configId. A
 * compare-and-set passes if `/chain` still holds the configuration that the writer started from.
 */
typedef Configuration {
  unsigned epoch : 3;
  unsigned size : 3;
  byte place[SERVERS];        /* 1 for the head ... size for the tail, 0: not listed */
  byte incarnation[SERVERS];  /* of those that are listed */
  unsigned restartEpoch : 3;          /* the newest epoch that restarted members formed (R5) */
#ifdef ZOOKEEPER_GOES_BACK
  byte previous;              /* the configuration that this one replaced */
#endif
  unsigned left : 3;                  /* 1 + who left by agreement with exactly this epoch (R10) */
};

Configuration written[CONFIGURATIONS + 1];
byte chain = 1;               /* what `/chain` holds now */
byte writes = 1;              /* how many configurations were written so far */

/* A compare-and-set that admits a learner, sent and not answered: it lands later, or never. */
typedef Request {
  byte from;                  /* the configuration it is to replace; 0: no request under way */
  byte learner;
  byte incarnation;
};
Request admission;

#define LISTS(c, x)         (written[c].place[x] != 0)
#define LISTS_PROCESS(c, x) (LISTS(c, x) && written[c].incarnation[x] == server[x].incarnation)
#define MAY_WRITE           (writes < CONFIGURATIONS)

/* Every new configuration starts as a copy of the one in `/chain`, with epoch + 1 and a new configId. */
inline copyChain() {
  writes++;
  written[writes].epoch = written[chain].epoch + 1;
  written[writes].size = written[chain].size;
  written[writes].restartEpoch = written[chain].restartEpoch;
#ifdef ZOOKEEPER_GOES_BACK
  written[writes].previous = chain;
#endif
  for (i : 0 .. SERVERS - 1) {
    written[writes].place[i] = written[chain].place[i];
    written[writes].incarnation[i] = written[chain].incarnation[i]
  }
}

inline dropMember(x) {
  for (i : 0 .. SERVERS - 1) {
    if
    :: written[writes].place[i] > written[writes].place[x] -> written[writes].place[i]--
    :: else
    fi
  }
  written[writes].place[x] = 0;
  written[writes].incarnation[x] = 0;
  written[writes].size--
}

inline addMember(x, process) {
  written[writes].size++;
  written[writes].place[x] = written[writes].size;
  written[writes].incarnation[x] = process
}

/* The compare-and-set passes: whatever else was sent for the former content can pass no more. */
inline putChain() {
  chain = writes;
  admission.from = 0; admission.learner = 0; admission.incarnation = 0
}

inline showChain() {
  printf("      /chain: epoch %d, restartEpoch %d", written[chain].epoch, written[chain].restartEpoch);
  for (k : 1 .. written[chain].size) {
    for (i : 0 .. SERVERS - 1) {
      if
      :: written[chain].place[i] == k -> printf(", %c%d", 'A' + i, written[chain].incarnation[i])
      :: else
      fi
    }
  }
  printf("\n")
}
