/** Puts one kind of load on a port for a time and answers how many of it were served; anything but success throws. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { withSbin } from './processes.ts';

const run = promisify(execFile);

export const CONNECTIONS = 64;
/** Of HTTP/2: few connections with many streams each, as browsers have them. */
const H2_CONNECTIONS = 8;
const H2_STREAMS = 8;
const MESSAGE = Buffer.alloc(125, 'x');

export interface Target {
  readonly port: number;
  readonly seconds: number;
  /** For files of the load's own. */
  readonly folder: string;
}

export interface WrkLoad {
  readonly path: string;
  readonly secure?: boolean;
  /** Lua; none for plain GETs on kept connections. */
  readonly script?: string;
}

export function wrk({ path, secure, script }: WrkLoad): (target: Target) => Promise<number> {
  return async ({ port, seconds, folder }) => {
    const args = ['-t', '1', '-c', String(CONNECTIONS), '-d', `${seconds}s`];
    if (script !== undefined) {
      const file = join(folder, 'case.lua');
      writeFileSync(file, script);
      args.push('-s', file);
    }
    const url = `${secure === true ? 'https' : 'http'}://127.0.0.1:${port}${path}`;
    const { stdout } = await run('wrk', [...args, url], { env: withSbin() });
    const errors = /Non-2xx or 3xx responses: (\d+)/.exec(stdout);
    if (errors !== null) throw new Error(`${errors[1]} requests were answered with an error`);
    // Connections that broke, or were never made; wrk counts them beside the answers, not among them.
    const broken = /Socket errors: (.*)/.exec(stdout);
    if (broken !== null) throw new Error(`connections failed: ${broken[1]}`);
    const served = Number(/(\d+) requests in/.exec(stdout)?.[1]);
    if (!(served > 0)) throw new Error(`nothing was served: ${stdout}`);
    return served;
  };
}

export function h2load(path: string): (target: Target) => Promise<number> {
  return async ({ port, seconds }) => {
    const args = ['-D', String(seconds), '-c', String(H2_CONNECTIONS), '-m', String(H2_STREAMS)];
    const { stdout } = await run('h2load', [...args, `https://127.0.0.1:${port}${path}`], {
      env: withSbin(),
    });
    const counts = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(stdout);
    if (!/Application protocol: h2/.test(stdout)) throw new Error('HTTP/2 was not spoken');
    if (counts === null || counts.slice(2).some((count) => count !== '0') || counts[1] === '0')
      throw new Error(`not every request was answered with success: ${stdout}`);
    return Number(counts[1]);
  };
}

/** Messages of 125 bytes to and fro; each way counts. */
export async function webSocketMessages({ port, seconds }: Target): Promise<number> {
  let messages = 0;
  const sockets = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, { perMessageDeflate: false });
      await new Promise((resolve, reject) => {
        socket.once('open', resolve);
        socket.once('error', reject);
      });
      return socket;
    }),
  );
  const failed = new Promise<never>((_, reject) => {
    for (const socket of sockets) {
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('a WebSocket was closed')));
      socket.on('message', () => {
        messages += 2;
        socket.send(MESSAGE);
      });
      socket.send(MESSAGE);
    }
  });
  const over = new Promise<void>((resolve) => setTimeout(resolve, seconds * 1_000));
  try {
    await Promise.race([over, failed]);
    return messages;
  } finally {
    failed.catch(() => {});
    for (const socket of sockets) socket.terminate();
  }
}
