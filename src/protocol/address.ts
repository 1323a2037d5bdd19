/** `host:port` as it stands on command lines and in configurations. */
import { BadRequestError } from '../errors.js';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where a port without a host listens or connects. Not the whole network: there is no authentication. */
export const defaultHost = '127.0.0.1';

/** Reads `[host:]port`; an IPv6 host stands in brackets. Throws BadRequestError. */
export function parseAddress(text: string): Address {
  const match = /^(?:(\[[0-9a-fA-F:.]+\]|[^\s:,/[\]]+):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) {
    throw new BadRequestError(`'${text}' is no address; one looks like 5000 or 10.0.0.7:5000`);
  }
  return { host: (match[1] ?? defaultHost).replace(/^\[|\]$/g, ''), port };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Reads a comma list of addresses; at least one. */
export function parseAddresses(text: string): Address[] {
  return text.split(',').map((part) => parseAddress(part.trim()));
}
