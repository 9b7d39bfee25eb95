/** A worker of the system tests: `kontrol run` with the program beside it, on a free port. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Cluster, type Command, visit } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';

const PROGRAM = fileURLToPath(new URL('./program.js', import.meta.url));

export interface Said {
  readonly name: string;
  readonly pid: number;
  readonly key: string | null;
}

export class TestWorker {
  readonly name: string;
  readonly port: number;
  readonly wrapper: Command;

  private constructor(name: string, port: number, wrapper: Command) {
    this.name = name;
    this.port = port;
    this.wrapper = wrapper;
  }

  /** Starts a worker of the service `web`; returns at once. `args` are further options of `kontrol run`. */
  static async run(
    cluster: Cluster,
    name: string,
    args: readonly string[] = [],
    /** File without which the program does not listen. */
    file?: string,
  ): Promise<TestWorker> {
    const port = await freePort();
    const options = ['--service', 'web', '--port', String(port), '--name', name, ...args];
    const program = [process.execPath, PROGRAM, name, ...(file === undefined ? [] : [file])];
    return new TestWorker(name, port, cluster.run(['run', ...options, '--', ...program]));
  }

  /** Starts a worker and waits until the API has it as ready. */
  static async start(cluster: Cluster, name: string, args: readonly string[] = []): Promise<TestWorker> {
    const worker = await TestWorker.run(cluster, name, args);
    await worker.becomes(cluster, 'ready');
    return worker;
  }

  /** Waits until the API shows the worker with this state. */
  async becomes(cluster: Cluster, state: string): Promise<void> {
    await cluster.until(`${this.name} is ${state}\n${this.wrapper.output}`, async () => {
      return (await stateOf(cluster, this.name)) === state;
    });
  }

  /** Pid of the program that runs now; null when there is none. */
  get program(): number | null {
    const children = readChildren(this.wrapper.pid);
    return children[0] ?? null;
  }

  /** What the program itself answers; rejects when it does not run. */
  async ask(): Promise<Said> {
    return JSON.parse((await visit(this.port, 'x')).body) as Said;
  }

  /** Whether the program runs. */
  async runs(): Promise<boolean> {
    return this.ask().then(
      () => true,
      () => false,
    );
  }
}

export interface WorkerShown {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly key: number;
}

export async function workersOf(cluster: Cluster): Promise<readonly WorkerShown[]> {
  return (await cluster.ok('GET', '/v1/workers')).body.items;
}

/** State of the worker of that name; `none` when there is none. */
export async function stateOf(cluster: Cluster, name: string): Promise<string> {
  const workers = (await workersOf(cluster)).filter((worker) => worker.name === name);
  return workers.at(-1)?.state ?? 'none';
}

/** Who answers visitors of `web.test`, in some number of visits; a status where nobody did. */
export async function answering(cluster: Cluster, visits = 12, host = 'web.test'): Promise<string[]> {
  const names = new Set<string>();
  for (let index = 0; index < visits; index++) {
    const node = cluster.nodes[index % cluster.nodes.length];
    const answer = await visit(node?.http ?? 0, host);
    names.add(answer.status === 200 ? (JSON.parse(answer.body) as Said).name : String(answer.status));
  }
  return [...names].sort();
}

function readChildren(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch {
    return [];
  }
}
