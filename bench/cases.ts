/** What is measured beside the others, one row of the table each. */
import { h2load, type Target, webSocketMessages, wrk } from './load.ts';

export interface Case {
  readonly name: string;
  /** Which port of a peer it goes to. */
  readonly on: 'http' | 'https';
  /** Peers that do not speak it. */
  readonly without?: readonly string[];
  load(target: Target): Promise<number>;
}

const CLOSING = 'wrk.headers["Connection"] = "close"';
const POST = 'wrk.method = "POST"; wrk.body = string.rep("x", 10240)';

export const CASES: readonly Case[] = [
  { name: 'GET 1 KB', on: 'http', load: wrk({ path: '/1k' }) },
  { name: 'GET 100 KB', on: 'http', load: wrk({ path: '/100k' }) },
  { name: 'POST 10 KB', on: 'http', load: wrk({ path: '/post', script: POST }) },
  { name: 'new connection', on: 'http', load: wrk({ path: '/1k', script: CLOSING }) },
  { name: 'WebSocket message', on: 'http', without: ['http-proxy'], load: webSocketMessages },
  { name: 'TLS GET 1 KB', on: 'https', load: wrk({ path: '/1k', secure: true }) },
  {
    name: 'TLS new connection',
    on: 'https',
    load: wrk({ path: '/1k', secure: true, script: CLOSING }),
  },
  { name: 'HTTP/2 GET 1 KB', on: 'https', without: ['http-proxy'], load: h2load('/1k') },
];
