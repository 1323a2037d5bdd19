/**
 * The public interface of the package: `connect`, the client, its types and errors. Everything else is
 * internal and may change.
 */
export { connect } from './client/connect.js';
export type {
  CommonOptions,
  ConnectOptions,
  ServersOptions,
  ZooKeeperOptions,
} from './client/connect.js';
export type { Bytes } from './client/input.js';
export type {
  Assigned,
  CallOptions,
  Entry,
  Found,
  KvClient,
  LeaveOptions,
  Reading,
  ReadOptions,
  SizeReading,
  StatusOutcome,
  WriteOptions,
} from './client/kv-client.js';
export type { Snapshot } from './client/snapshot.js';
export {
  AbortedError,
  BadRequestError,
  CatenaError,
  ClosedError,
  CoordinationError,
  type ErrorCode,
  LastMemberError,
  LimitError,
  OutcomeUnknownError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
} from './errors.js';
export { clientTimeoutMsDefault, clusterDefault, keyBytesMax, valueBytesMax } from './limits.js';
export type { Logger } from './logger.js';
export type { ScanHead, VerifyOutcome, View } from './protocol/messages.js';
export type { OpStatistics, ServerStatus } from './protocol/status.js';
