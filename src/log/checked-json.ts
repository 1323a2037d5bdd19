/**
 * Small JSON files with a checksum, replaced atomically: after a crash the old content or the new one
 * is there, never a part. One line: {"formatVersion":1,"crc32":…,"content":…}; the checksum covers the
 * version and the text of the content.
 */

import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { DataDamagedError, RefusedToStartError } from '../errors.js';
import type { Disk } from './disk.js';
import { errorCode, readUpTo, removeIfThere, writeFully } from './disk.js';

const formatVersion = 1;
const temporarySuffix = '.new';
const envelope = /^\{"formatVersion":(\d{1,9}),"crc32":(\d{1,10}),"content":(.*)\}\n$/su;

/** The object in the file, undefined if there is none. DataDamagedError, RefusedToStartError. */
export async function readCheckedJson(
  disk: Disk,
  path: string,
): Promise<Record<string, unknown> | undefined> {
  const text = await readText(disk, path);
  if (text === undefined) return undefined;
  const [, version, checksum, content] = envelope.exec(text) ?? [];
  if (content === undefined || crc32(`${version}${content}`) !== Number(checksum)) {
    throw new DataDamagedError(`${path} is damaged at offset 0: its checksum does not match`);
  }
  if (Number(version) !== formatVersion) {
    throw new RefusedToStartError(
      `${path} has format version ${version}; this release reads version ${formatVersion}: start ` +
        'the release that wrote it',
    );
  }
  return objectOf(content, path);
}

/** Durable when it resolves. Of two calls for one path the second must wait for the first. */
export async function writeCheckedJson(disk: Disk, path: string, value: object): Promise<void> {
  const content = JSON.stringify(value);
  const checksum = crc32(`${formatVersion}${content}`);
  const text = `{"formatVersion":${formatVersion},"crc32":${checksum},"content":${content}}\n`;
  const temporary = `${path}${temporarySuffix}`;
  await removeIfThere(disk, temporary);
  const file = await disk.open(temporary, 'create');
  try {
    await writeFully(file, [Buffer.from(text)], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, path);
  await disk.syncDirectory(dirname(path));
}

/** A right checksum says that somebody wrote it so, not that it was one of us. */
function objectOf(content: string, path: string): Record<string, unknown> {
  const value = parseObject(content);
  if (value !== undefined) return value;
  throw new DataDamagedError(`${path} is damaged at offset 0: its content is no object`);
}

/** The object that a text of JSON holds; undefined if it is no JSON, or holds anything else. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : undefined;
}

async function readText(disk: Disk, path: string): Promise<string | undefined> {
  try {
    const file = await disk.open(path, 'read');
    try {
      return (await readUpTo(file, 0, await file.size())).toString('utf8');
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return undefined;
  }
}
