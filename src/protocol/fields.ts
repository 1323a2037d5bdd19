/** Typed access to the fields of a decoded protobuf message; whatever is not as the schema says throws. */
import { LimitError, ProtocolError } from '../errors.js';
import type { MessageType } from './schema.js';

export type Fields = Readonly<Record<string, unknown>>;

export function decoded(type: MessageType, bytes: Uint8Array): Fields {
  try {
    return type.decode(bytes);
  } catch (error) {
    if (error instanceof LimitError) throw error;
    throw new ProtocolError('malformed protobuf', { cause: error });
  }
}

export function malformed(what: string): ProtocolError {
  return new ProtocolError(`malformed message: ${what}`);
}

/** A nested message, or undefined where it is absent. */
export function fieldsOf(fields: Fields, name: string): Fields | undefined {
  const value = fields[name];
  return typeof value === 'object' && value !== null ? (value as Fields) : undefined;
}

export function requiredFields(fields: Fields, name: string): Fields {
  const value = fieldsOf(fields, name);
  if (value === undefined) throw malformed(`${name} is missing`);
  return value;
}

export function listOf(fields: Fields, name: string): readonly Fields[] {
  return (fields[name] ?? []) as readonly Fields[];
}

/** A count, seq or epoch: a safe integer, not negative. */
export function numberOf(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw malformed(`${name} is ${String(value)}`);
  }
  return value;
}

export function textOf(fields: Fields, name: string): string {
  const value = fields[name];
  return typeof value === 'string' ? value : '';
}

const noBytes = new Uint8Array(0);

export function bytesOf(fields: Fields, name: string): Uint8Array {
  const value = fields[name];
  return value instanceof Uint8Array ? value : noBytes;
}
