/** The clock of torture runs: one for all processes of a machine, since its start; it never jumps. */

export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1_000_000;
}
