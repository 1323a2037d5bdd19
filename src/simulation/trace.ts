/** What happened in a run, in lines for people: `12.345 A2 …`. Costs nothing while nobody wants them. */

export interface Trace {
  readonly isOn: boolean;
  /** `atMs`: world time. `who`: a process, or what part of the world. */
  say(atMs: number, who: string, what: string): void;
}

export const silentTrace: Trace = { isOn: false, say: () => {} };

export function traceTo(write: (line: string) => void): Trace {
  return {
    isOn: true,
    say: (atMs, who, what) =>
      write(`${(atMs / 1000).toFixed(6).padStart(10)} ${who.padEnd(6)} ${what}`),
  };
}
