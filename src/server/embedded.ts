/** SKELETON: the interface; the implementation follows. A chain of servers in one process, with embedded coordination. */
export interface EmbeddedOptions {
  readonly servers: number;
  /** Server N (from 0) listens on basePort + N of 127.0.0.1. */
  readonly basePort: number;
  /** Data of all servers and of the coordination is kept below this directory. */
  readonly dataPath: string;
  readonly leaseMs?: number;
  /** One line for people: serving, role, epoch or chain changed. */
  readonly onLine: (line: string) => void;
}

export interface EmbeddedCluster {
  readonly addresses: readonly string[];
  /** Numbers count from 1, as `.kill N` does. Crashes the server: nothing is flushed or said. */
  kill(number: number): Promise<void>;
  /** Starts it again on its data. */
  start(number: number): Promise<void>;
  isRunning(number: number): boolean;
  /** Stops all, data kept. */
  stop(): Promise<void>;
}

export declare function startEmbeddedCluster(options: EmbeddedOptions): Promise<EmbeddedCluster>;
