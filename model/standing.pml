/*
 * Progress (R2, R5, R11): whatever crashes, restarts or loses its session, the chain is mended. When
 * nothing can happen any more and a server of the last configuration runs, every listed process runs.
 *
 * Registry and silence are what src/replica/suspicion.ts, revival.ts and membership.ts (standingOf) see.
 * Reads of `/chain` are fresh here and compare-and-sets answered: what stale ones do is chain.pml's matter.
 */
#define SERVERS 3
#ifndef CRASHES
#define CRASHES 3
#endif
#ifndef EXPIRIES
#define EXPIRIES 1            /* sessions that end although their process lives */
#endif
#ifndef WRONG
#define WRONG 1               /* wrong suspicions, by silence */
#endif

/* `/chain`: place 1 for the head, 0: not listed. */
byte place[SERVERS]; byte listed[SERVERS]; byte size = SERVERS;
/* Processes. */
byte incarnation[SERVERS];    /* the newest process of each server, from 1 */
bit isUp[SERVERS]; bit isGone[SERVERS];
/* The registry: the newest registration of each server, 0: none; whether it says "member". */
byte registered[SERVERS]; bit saysMember[SERVERS];
byte crashes, expiries, wrong;
byte i, n;

#define IS_MEMBER(x) (isUp[x] && place[x] != 0 && listed[x] == incarnation[x])
#define IS_DEAD(y) (place[y] != 0 && (!isUp[y] || listed[y] != incarnation[y]))
#define IS_INTACT (!IS_DEAD(0) && !IS_DEAD(1) && !IS_DEAD(2))
#define ARE_NEIGHBOURS(x, y) (place[x] + 1 == place[y] || place[y] + 1 == place[x])

/* standingOf: alive is judged by (serverId, incarnation). By serverId alone a restart hides a death. */
#ifdef NO_R2_INCARNATION
#define SEEMS_ALIVE(y) (registered[y] != 0)
#else
#define SEEMS_ALIVE(y) (registered[y] == listed[y])
#endif
/* A neighbour that does not listen. The next process of that server listens at the same address. */
#define IS_SILENT(x, y) (ARE_NEIGHBOURS(x, y) && !isUp[y])
/* A valid lease shows that everyone is there: then the registry alone removes nobody. */
#define CAN_SUSPECT(x, y) (x != y && IS_MEMBER(x) && place[y] != 0 && \
  (IS_SILENT(x, y) || !SEEMS_ALIVE(y) && !IS_INTACT))

inline remove(y) {
  for (i : 0 .. SERVERS - 1) {
    if
    :: place[i] > place[y] -> place[i]--
    :: else
    fi
  }
  if
  :: registered[y] == listed[y] && isUp[y] && incarnation[y] == listed[y] -> saysMember[y] = 0
  :: else
  fi;
  place[y] = 0; listed[y] = 0; size--; i = 0
}

/* R5, as revivalOf judges: no listed process seems alive, and no registered one says that it is a member
   of a later configuration. Those that are back form the chain. */
#define HIDES(x, y) (x != y && place[y] != 0 && (registered[y] == listed[y] || \
  registered[y] != 0 && saysMember[y] && registered[y] != listed[y]))
#ifdef NO_R5_REVIVAL
#define CAN_REVIVE(x) false
#else
#define CAN_REVIVE(x) (isUp[x] && place[x] != 0 && listed[x] != incarnation[x] && \
  registered[x] != listed[x] && !HIDES(x, 0) && !HIDES(x, 1) && !HIDES(x, 2))
#endif
inline revive(x) {
  printf("%c, restarted, writes a chain of those that are back\n", 'A' + x);
  for (n : 0 .. SERVERS - 1) {
    if
    :: place[n] != 0 && n != x && registered[n] == 0 -> remove(n)
    :: place[n] != 0 && n == x -> listed[n] = incarnation[n]; saysMember[n] = 1
    :: place[n] != 0 && n != x && registered[n] != 0 -> listed[n] = registered[n];
      if
      :: isUp[n] && incarnation[n] == registered[n] -> saysMember[n] = 1
      :: else
      fi
    :: else
    fi
  };
  n = 0
}

#define ANY_LISTED_RUNS (place[0] != 0 && isUp[0] || place[1] != 0 && isUp[1] || place[2] != 0 && isUp[2])
#define me (_pid - 1)

proctype Process() {
end:
  do
  :: d_step { isUp[me] && crashes < CRASHES -> crashes++; isUp[me] = 0; printf("%c dies\n", 'A' + me) }
  :: d_step { !isUp[me] && !isGone[me] -> isUp[me] = 1; incarnation[me]++; printf("%c restarts\n", 'A' + me) }
  :: d_step { !isUp[me] && !isGone[me] -> isGone[me] = 1; printf("%c never comes back\n", 'A' + me) }
  /* R11: it registers and deletes the registration of the process before it. */
  :: d_step { isUp[me] && registered[me] != incarnation[me] -> registered[me] = incarnation[me];
       saysMember[me] = (place[me] != 0 && listed[me] == incarnation[me]); printf("%c registers\n", 'A' + me) }
  :: d_step { registered[me] != 0 && (!isUp[me] || registered[me] != incarnation[me] || expiries < EXPIRIES) ->
       if
       :: isUp[me] && registered[me] == incarnation[me] -> expiries++
       :: else
       fi;
       registered[me] = 0; saysMember[me] = 0; printf("a session of %c ends\n", 'A' + me) }
#define SUSPECT(y) \
  :: d_step { CAN_SUSPECT(me, y) -> printf("%c removes %c\n", 'A' + me, 'A' + y); remove(y) } \
  :: d_step { me != y && IS_MEMBER(me) && place[y] != 0 && wrong < WRONG -> wrong++; \
       printf("%c removes %c, wrongly maybe\n", 'A' + me, 'A' + y); remove(y) }
  SUSPECT(0) SUSPECT(1) SUSPECT(2)
  :: d_step { CAN_REVIVE(me) -> revive(me) }
#define ADMIT(y) \
  :: d_step { IS_MEMBER(me) && place[me] == size && me != y && place[y] == 0 && isUp[y] && \
       registered[y] == incarnation[y] -> \
       size++; place[y] = size; listed[y] = incarnation[y]; saysMember[y] = 1; \
       printf("%c admits %c\n", 'A' + me, 'A' + y) }
  ADMIT(0) ADMIT(1) ADMIT(2)
  od
}

init {
  atomic {
    d_step {
      for (n : 0 .. SERVERS - 1) {
        place[n] = n + 1; listed[n] = 1; incarnation[n] = 1; isUp[n] = 1; registered[n] = 1; saysMember[n] = 1
      };
      n = 0
    };
    run Process(); run Process(); run Process()
  };
  timeout ->
    if
    :: ANY_LISTED_RUNS && !IS_INTACT -> printf("   ** a dead process stays in the chain for ever\n"); assert(false)
#ifdef REACH
    :: IS_INTACT && size == SERVERS && crashes == CRASHES ->
      printf("   ** (to be found) the chain is whole again\n"); assert(false)
#endif
    :: else
    fi
}
