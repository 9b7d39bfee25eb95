/** What the engine's parsers make of the bytes of a connection, cut in any way; driven as the client connection does. */
import { ChunkDecoder } from '../../proxy/http1/chunk-decoder.ts';
import { COMPLETE, NEED_MORE } from '../../proxy/http1/field-lines.ts';
import { RequestHead } from '../../proxy/http1/request-head.ts';

const LIMITS = { headSize: 16_384, fields: 100 };

export interface EngineRequest {
  readonly method: string;
  readonly target: string;
  readonly minor: number;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

export interface EngineReading {
  readonly requests: readonly EngineRequest[];
  /** A cause code when it was refused. */
  readonly end: string;
  /** From the first byte behind the last request it took. */
  readonly rest: string;
}

export function engineRequests(pieces: readonly string[]): EngineReading {
  const requests: EngineRequest[] = [];
  const text = pieces.join('');
  let used = 0;
  let taken = 0;
  const reading = (end: string): EngineReading => ({ requests, end, rest: text.slice(taken) });
  const head = new RequestHead();
  const chunks = new ChunkDecoder();
  let stored = Buffer.alloc(0);
  let inBody = false;
  let body = '';
  let left = 0;
  const sink = {
    onBody(buffer: Buffer, start: number, end: number) {
      body += buffer.toString('latin1', start, end);
    },
  };
  for (const piece of pieces) {
    // At another place each time, as bytes are that had to be stored.
    const before = stored.length;
    stored = Buffer.concat([Buffer.alloc(3), stored, Buffer.from(piece, 'latin1')]);
    const first = used - before - 3;
    let at = 3;
    while (at < stored.length || (inBody && !head.chunked && left === 0)) {
      if (!inBody) {
        const outcome = head.parse(stored, at, stored.length, LIMITS);
        if (outcome === NEED_MORE) break;
        if (outcome !== COMPLETE) return reading(head.cause);
        at += head.length;
        head.own();
        inBody = true;
        body = '';
        left = Math.max(0, head.contentLength);
        if (head.chunked) chunks.start(false);
        continue;
      }
      if (head.chunked) {
        at = chunks.decode(stored, at, stored.length, sink);
        if (chunks.broken) return reading('bad_request');
        if (!chunks.done) continue;
      } else {
        const take = Math.min(left, stored.length - at);
        sink.onBody(stored, at, at + take);
        at += take;
        left -= take;
        if (left > 0) continue;
      }
      requests.push(request(head, body));
      taken = first + at;
      inBody = false;
      if (!head.keepAlive) return reading('closed');
      head.reset();
    }
    used += piece.length;
    stored = stored.subarray(at);
  }
  return reading(inBody || head.began ? 'unfinished' : 'idle');
}

function request(head: RequestHead, body: string): EngineRequest {
  return {
    method: head.method,
    target: head.text(head.targetStart, head.targetEnd),
    minor: head.minor,
    fields: Array.from({ length: head.fields.count }, (_, i) => [head.fields.name(i), head.fields.value(i)]),
    body,
  };
}
