/** What a server says of itself to `status`, between the fields of proto/catena.proto and a type. */
import { type Fields, fieldsOf, listOf, numberOf, requiredFields, textOf } from './fields.js';
import { type View, viewOf } from './view.js';

export interface OpStatistics {
  readonly kind: string;
  readonly count: number;
  readonly failures: number;
  readonly meanMs: number;
  readonly maxMs: number;
}

export interface ServerStatus {
  readonly serverId: string;
  readonly incarnation: string;
  readonly address: string;
  readonly role: string;
  readonly view?: View;
  readonly lastSeq: number;
  readonly durableSeq: number;
  readonly commitSeq: number;
  readonly lease: boolean;
  readonly keys: number;
  readonly tableBytes: number;
  readonly clientConnections: number;
  readonly serverConnections: number;
  readonly uptimeMs: number;
  readonly ops: readonly OpStatistics[];
  readonly learners: readonly LearnerStatus[];
  readonly reason: string;
  /** Why this server does not serve yet, in words; empty when it does. */
  readonly waitingFor: string;
  readonly appliedSeq: number;
  /** Hexadecimal, of the state after appliedSeq. */
  readonly stateHash: string;
  readonly disk: DiskStatus;
  /** A snapshot on its way to this server. */
  readonly receiving?: TransferStatus;
}

export interface LearnerStatus {
  readonly serverId: string;
  readonly ackedSeq: number;
  readonly state: string;
  /** A snapshot on its way to it. */
  readonly sending?: TransferStatus;
}

export interface TransferStatus {
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface DiskStatus {
  readonly logFirstSeq: number;
  readonly logBytes: number;
  /** 0: there is none. */
  readonly snapshotSeq: number;
  readonly snapshotBytes: number;
  /** Of the file system. */
  readonly freeBytes: number;
  /** The last whole pass over everything at rest. */
  readonly scrub?: ScrubStatus;
}

export interface ScrubStatus {
  /** Of the wall clock, when it ended. */
  readonly atMs: number;
  readonly bytes: number;
  readonly durationMs: number;
}

export function statusOf(fields: Fields): ServerStatus {
  const view = fieldsOf(fields, 'view');
  const receiving = fieldsOf(fields, 'receiving');
  return {
    serverId: textOf(fields, 'serverId'),
    incarnation: textOf(fields, 'incarnation'),
    address: textOf(fields, 'address'),
    role: textOf(fields, 'role'),
    ...(view === undefined ? {} : { view: viewOf(view) }),
    lastSeq: numberOf(fields, 'lastSeq'),
    durableSeq: numberOf(fields, 'durableSeq'),
    commitSeq: numberOf(fields, 'commitSeq'),
    lease: fields['lease'] === true,
    keys: numberOf(fields, 'keys'),
    tableBytes: numberOf(fields, 'tableBytes'),
    clientConnections: numberOf(fields, 'clientConnections'),
    serverConnections: numberOf(fields, 'serverConnections'),
    uptimeMs: Number(fields['uptimeMs']),
    ops: listOf(fields, 'ops').map((op) => ({
      kind: textOf(op, 'kind'),
      count: numberOf(op, 'count'),
      failures: numberOf(op, 'failures'),
      meanMs: Number(op['meanMs']),
      maxMs: Number(op['maxMs']),
    })),
    learners: listOf(fields, 'learners').map(learnerOf),
    reason: textOf(fields, 'reason'),
    waitingFor: textOf(fields, 'waitingFor'),
    appliedSeq: numberOf(fields, 'appliedSeq'),
    stateHash: textOf(fields, 'stateHash'),
    disk: diskOf(requiredFields(fields, 'disk')),
    ...(receiving === undefined ? {} : { receiving: transferOf(receiving) }),
  };
}

function learnerOf(fields: Fields): LearnerStatus {
  const sending = fieldsOf(fields, 'sending');
  return {
    serverId: textOf(fields, 'serverId'),
    ackedSeq: numberOf(fields, 'ackedSeq'),
    state: textOf(fields, 'state'),
    ...(sending === undefined ? {} : { sending: transferOf(sending) }),
  };
}

function transferOf(fields: Fields): TransferStatus {
  return { bytes: numberOf(fields, 'bytes'), totalBytes: numberOf(fields, 'totalBytes') };
}

function diskOf(fields: Fields): DiskStatus {
  const scrub = fieldsOf(fields, 'scrub');
  return {
    logFirstSeq: numberOf(fields, 'logFirstSeq'),
    logBytes: numberOf(fields, 'logBytes'),
    snapshotSeq: numberOf(fields, 'snapshotSeq'),
    snapshotBytes: numberOf(fields, 'snapshotBytes'),
    freeBytes: numberOf(fields, 'freeBytes'),
    ...(scrub === undefined
      ? {}
      : {
          scrub: {
            atMs: numberOf(scrub, 'atMs'),
            bytes: numberOf(scrub, 'bytes'),
            durationMs: numberOf(scrub, 'durationMs'),
          },
        }),
  };
}
