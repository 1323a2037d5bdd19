/** What the replica's view of `/chain` is to the coordinator: readings in, one compare-and-set out. */
import {
  type Configuration,
  formatConfiguration,
  parseConfiguration,
} from '../coordination/configuration.js';
import type { ChainRead, Coordinator, WriteOutcome } from '../coordination/coordinator.js';
import type { ChainReading } from '../replica/events.js';

export function readingOf(read: ChainRead): ChainReading {
  if (read.kind === 'absent') return { kind: 'absent' };
  const configuration = parseConfiguration(read.data);
  if (configuration === undefined) return { kind: 'garbage' };
  return { kind: 'found', configuration, version: read.version };
}

/**
 * Carries out a `propose` effect. `version` undefined creates the node. `confirm` (R3): an admission is
 * sent only on a session that has just answered, with this very version.
 */
export async function compareAndSet(
  coordinator: Coordinator,
  configuration: Configuration,
  version: number | undefined,
  confirm: boolean,
): Promise<WriteOutcome> {
  const data = formatConfiguration(configuration);
  if (version === undefined) return coordinator.createChain(data);
  if (confirm) {
    const read = await coordinator.readChain().catch(() => undefined);
    if (read === undefined) return 'unavailable';
    if (read.kind === 'absent' || read.version !== version) return 'conflict';
  }
  return coordinator.setChain(data, version);
}
