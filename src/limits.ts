/**
 * Every limit of the service, each with its unit in its name. A breach of one is answered with a
 * typed error that carries the number (see errors.ts). Nothing elsewhere may hide a limit of its own.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** What one key, value and frame may weigh. */
export const keyBytesMax = 4 * KiB;
export const valueBytesMax = 8 * MiB;
export const frameBytesMax = 16 * MiB;

/** One log record (= one batch = one Append frame); a single larger op is a batch of its own. */
export const batchBytesMax = 1 * MiB;
export const batchOpsMax = 8192;

/** Requests in flight on one client connection; past it the socket is not read. */
export const requestsInFlightMax = 4096;
/** Bytes at the head that the chain has not acknowledged; past it client sockets are not read. */
export const unacknowledgedBytesMax = 64 * MiB;
/** Committed entries kept in memory, so that a short resend needs no disk. */
export const recentBytesMax = 16 * MiB;
/** Bytes under way to one learner before it acknowledges. */
export const transferWindowBytes = 4 * MiB;
/** One page of a streamed answer (keys, table). */
export const pageBytesMax = 256 * KiB;
/** Items of all lists in one message: as many as a page can have. An empty one takes two bytes of a frame, here a hundred. */
export const messageItemsMax = pageBytesMax;
/** One chunk of a snapshot: small, since making one holds up whoever waits. */
export const snapshotChunkBytes = 64 * KiB;
/** Log that is kept although a snapshot covers it, so that who was away for a while needs no snapshot. */
export const logRetainBytesDefault = 256 * MiB;
export const logRetainBytesMin = 1 * MiB;
export const logRetainBytesMax = 1024 * 1024 * MiB;
/** A scrub reads no faster, unless it would take more than half of its interval then. */
export const scrubBytesPerSecond = 8 * MiB;
export const scrubIntervalMsDefault = 24 * 3_600_000;
export const scrubIntervalMsMax = 500 * 3_600_000;
/** The memory check, in slices short enough that nobody waits for one. */
export const memoryCheckBytesPerSecond = 16 * MiB;
export const memoryCheckSliceBytes = 64 * KiB;
/** Bytes waiting in one connection's output before a stream to it pauses. */
export const outputHighWaterBytes = 1 * MiB;

/** A peer that takes none of a stream's output for this long is disconnected. */
export const outputStallMs = 30_000;
/** Part of a frame that is not followed by the rest, or by this much of it, closes the connection. */
export const frameStallMs = 30_000;
export const frameProgressBytes = 16 * KiB;
/** A connection that was ended here and is not ended by its peer is cut off after this. */
export const lingerMs = 1_000;

/** Clients at a time; beyond it there is room for the links of servers and for handshakes. */
export const connectionsMax = 20_000;
export const spareConnectionsMax = 1_000;
/** Descriptors that connections never use: the log, snapshots, the lock, ZooKeeper, Node.js itself. */
export const reservedFiles = 64;
export const listenBacklog = 4096;
/** A connection that has not said who it is after this long is closed. */
export const handshakeTimeoutMs = 5_000;

/** Chain timing. The default lease is D of the design; each of the others is derived from it. */
export const leaseMsDefault = 500;
export const leaseMsMin = 50;
export const leaseMsMax = 60_000;
/** The part of a lease that clocks may differ by: a lease counts for D * (1 - margin). */
export const leaseMargin = 0.1;

/** A leaver that cannot reach ZooKeeper, or whose chain is stuck, goes anyway after this. */
export const leaveTimeoutMs = 5_000;

/** Client defaults. */
export const clientTimeoutMsDefault = 5_000;

/** The name of a cluster that was given none, the same for servers and clients. */
export const clusterDefault = 'default';
