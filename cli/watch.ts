/**
 * Live events of kontrolapi for commands that watch: reconnects and resumes where it was; where WebSockets do not get
 * through it says so, and the caller polls. A connection that broke is told of on stderr, once until it is there again.
 */
import { WebSocket } from 'ws';
import type { Connection } from './connection.ts';

export type WatchedEvent = Readonly<Record<string, unknown>> & { readonly kind: string };

const RECONNECT_MS = 1_000;
const HANDSHAKE_MS = 10_000;
/** kontrolapi pings every 20 s: one that is silent for this long is gone, though nobody has said so. */
const SILENT_MS = 60_000;

/**
 * Calls `heard` with each event until the connection is refused or never came about; then answers why. A connection
 * that was there and broke is made again.
 */
export async function watchEvents(
  connection: Connection,
  heard: (event: WatchedEvent) => void,
): Promise<string> {
  let seq: number | null = null;
  let lost = false;
  for (let attempt = 0; ; attempt++) {
    const url = new URL('/v1/events', connection.url.replace(/^http/, 'ws'));
    if (seq !== null) url.searchParams.set('since', String(seq));
    const ended = await listen(url, connection.token, (event) => {
      if (lost) process.stderr.write('kontrol: kontrolapi answers again\n');
      lost = false;
      if (typeof event['seq'] === 'number') seq = event['seq'];
      if (event.kind !== 'hello') heard(event);
    });
    if (!ended.opened && (attempt === 0 || ended.refused)) return ended.reason;
    if (!lost) process.stderr.write(`kontrol: no events for now (${ended.reason}); trying again\n`);
    lost = true;
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  }
}

function listen(
  url: URL,
  token: string,
  heard: (event: WatchedEvent) => void,
): Promise<{ opened: boolean; refused: boolean; reason: string }> {
  return new Promise((resolve) => {
    let opened = false;
    let refused = false;
    let reason = 'the connection ended';
    const socket = new WebSocket(url, {
      headers: { authorization: `Bearer ${token}` },
      handshakeTimeout: HANDSHAKE_MS,
    });
    let silence: NodeJS.Timeout | undefined;
    const listenOn = () => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        reason = `nothing was heard for ${SILENT_MS / 1_000} s`;
        socket.terminate();
      }, SILENT_MS);
    };
    socket.on('open', () => {
      opened = true;
      listenOn();
    });
    socket.on('ping', listenOn);
    socket.on('message', (text) => {
      listenOn();
      try {
        heard(JSON.parse(String(text)) as WatchedEvent);
      } catch {
        // Not an event; the next one may be.
      }
    });
    socket.on('unexpected-response', (_request, response) => {
      refused = (response.statusCode ?? 500) < 500;
      reason = `it answers ${response.statusCode}`;
      response.resume();
      socket.terminate();
    });
    socket.on('error', (error) => {
      if (!refused) reason = error.message;
    });
    socket.on('close', () => {
      clearTimeout(silence);
      resolve({ opened, refused, reason });
    });
  });
}
