/**
 * How the members of the last configuration stand after a full outage (R5): while a listed incarnation
 * lives it is the chain; else those that are back form one, in the old order. Pure; who acts on it is
 * reconfiguration.ts, who tells people is waiting.ts.
 */
import { type Configuration, type Member, sameMember } from '../coordination/configuration.js';
import type { Registration } from '../coordination/coordinator.js';
import { standingOf } from '../coordination/membership.js';
import type { Timing } from './timing.js';

export interface Revival {
  /** Listed incarnations that live. */
  readonly alive: readonly Member[];
  /**
   * One that is back and says that it is a member already: of a later configuration. The read of `/chain` is old,
   * or ZooKeeper went back while a chain runs; another chain would fork history.
   */
  readonly later: Registration | undefined;
  /** Those that are back, under their new incarnations, in the chain's order; this server among them. */
  readonly returned: readonly Member[];
  /** Those that are not, as the configuration lists them. */
  readonly missing: readonly Member[];
  /** Those before this server among the returned: they write the configuration if they can. */
  readonly earlier: readonly Member[];
  /** From when nobody listed lives until this server writes: the grace, and a turn for each earlier one. */
  readonly waitMs: number;
  /** The part of it that is the grace for missing members. */
  readonly graceMs: number;
}

/** Undefined if the configuration does not list this server under any incarnation. */
export function revivalOf(
  configuration: Configuration,
  registered: readonly Registration[],
  self: Member,
  timing: Timing,
): Revival | undefined {
  const returned = configuration.members.flatMap((old) => backAs(old, registered, self) ?? []);
  const place = returned.findIndex(({ serverId }) => serverId === self.serverId);
  if (place < 0) return undefined;
  const isBack = (old: Member): boolean =>
    returned.some(({ serverId }) => serverId === old.serverId);
  const missing = configuration.members.filter((old) => !isBack(old));
  const graceMs = missing.length === 0 ? 0 : timing.reviveGraceMs;
  return {
    alive: configuration.members.filter((member) => standingOf(member, registered) === 'alive'),
    later: registered.find(
      (server) =>
        server.state === 'member' &&
        server.serverId !== self.serverId &&
        configuration.members.some(({ serverId }) => serverId === server.serverId) &&
        !configuration.members.some((member) => sameMember(member, server)),
    ),
    returned,
    missing,
    earlier: returned.slice(0, place),
    waitMs: graceMs + place * timing.goneMs,
    graceMs,
  };
}

function backAs(
  old: Member,
  registered: readonly Registration[],
  self: Member,
): Member | undefined {
  if (old.serverId === self.serverId) return self;
  const back = registered.filter((server) => server.serverId === old.serverId).at(-1);
  if (back === undefined || back.state === 'leaving') return undefined;
  return { serverId: back.serverId, incarnation: back.incarnation, address: back.address };
}
