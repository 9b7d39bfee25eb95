/** Changes of the configuration under a fault: each a domain of its own that says by its answer which it is. */
import assert from 'node:assert/strict';
import { type NodeOfCluster, visit } from '../cluster.ts';
import type { Stage } from './cases.ts';

/** A write is answered within 5 s; the rest is room for a busy machine. */
const ANSWER_MS = 10_000;

const written = new WeakMap<Stage, number>();

/** Writes a domain of its own; answers the status. */
export async function write(stage: Stage): Promise<number> {
  const number = (written.get(stage) ?? 0) + 1;
  written.set(stage, number);
  const domain = { routes: [{ path: '/', answer: { body: `number ${number}` } }] };
  const began = performance.now();
  const { status } = await stage.cluster.call('PUT', `/v1/domains/n${number}.example.com`, domain);
  assert.ok(performance.now() - began < ANSWER_MS, `the API took ${performance.now() - began} ms`);
  return status;
}

const serves = async (node: NodeOfCluster, number: number) =>
  (await visit(node.http, `n${number}.example.com`)).body === `number ${number}`;

/** Number of the last one. */
export function lastWritten(stage: Stage): number {
  return written.get(stage) ?? 0;
}

/** The last write is live on all nodes. */
export async function live(stage: Stage): Promise<void> {
  const number = lastWritten(stage);
  for (const node of stage.cluster.nodes)
    await stage.cluster.until(`${node.name} serves write ${number}`, () => serves(node, number));
}

/** When a fault is over, changes are written and served by every node again. */
export async function restored(stage: Stage): Promise<void> {
  await stage.cluster.until('the API writes again', async () => (await write(stage)) < 300);
  await live(stage);
}
