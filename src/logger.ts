/**
 * Structured logs: one JSON object a line to one sink. What a person must see of a server (it serves,
 * its role changed) is printed by the CLI from typed events, not from here.
 */
import { dateOf, runtime } from './runtime/runtime.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

const order: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** A logger that writes lines at or above `level` to `write`. `context` stands in every line. */
export function createLogger(
  level: LogLevel,
  context: LogFields,
  write: (line: string) => void,
): Logger {
  const threshold = order.indexOf(level);
  const at =
    (lineLevel: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (order.indexOf(lineLevel) < threshold) return;
      const time = dateOf(runtime.wallMs()).toISOString();
      write(`${JSON.stringify({ time, level: lineLevel, ...context, message, ...fields })}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export const silentLogger: Logger = createLogger('silent', {}, () => {});
