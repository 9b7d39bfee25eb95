/** Backends of the fault tests: started, killed and started again on the same port; what they got is counted. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../services/process.ts';

const SCRIPT = fileURLToPath(new URL('./backend.js', import.meta.url));

export class TestBackend {
  readonly name: string;
  readonly port: number;
  readonly #file: string;
  #process: ChildProcess | null = null;

  constructor(name: string, port: number, folder: string) {
    this.name = name;
    this.port = port;
    this.#file = join(folder, `${name}.log`);
  }

  static async start(name: string, folder: string): Promise<TestBackend> {
    const backend = new TestBackend(name, await freePort(), folder);
    await backend.start();
    return backend;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [SCRIPT, this.name, String(this.port), this.#file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#process = child;
    await once(child.stdout, 'data');
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    this.#process = null;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /** Ids of all POSTs it got, repeats included. */
  posts(): string[] {
    if (!existsSync(this.#file)) return [];
    return readFileSync(this.#file, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  }
}

/** Ids that were delivered more than once. */
export function doubled(backends: readonly TestBackend[]): string[] {
  const seen = new Set<string>();
  const twice: string[] = [];
  for (const id of backends.flatMap((backend) => backend.posts())) {
    if (seen.has(id)) twice.push(id);
    seen.add(id);
  }
  return twice;
}
