/** A test that has a deployment for itself: made before it, gone after it; if it fails, what the servers said last. */
import type { ExecutionContext, ImplementationFn } from 'ava';
import type { Deployment } from './deployment.js';

export function playOn<D extends Deployment>(
  deploy: () => Promise<D>,
  play: (t: ExecutionContext, deployment: D) => Promise<void>,
): ImplementationFn<[]> {
  return async (t) => {
    const deployment = await deploy();
    try {
      await play(t, deployment);
    } catch (error) {
      t.log(deployment.chain.lines.slice(-40).join('\n'));
      throw error;
    } finally {
      await deployment.remove();
    }
  };
}
