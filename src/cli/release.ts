/** Which release this is, as package.json says. */
import { readFileSync } from 'node:fs';

export function releaseText(): string {
  const path = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}
