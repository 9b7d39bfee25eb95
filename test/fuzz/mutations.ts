/** Messages that are almost valid: real ones, with small changes at the places where parsers disagree. */
import type { Random } from './random.ts';

const BODY = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
const CHUNKED_BODY = `${BODY.length.toString(16)};x=y\r\n${BODY}\r\n3\r\nabc\r\n0\r\nX-End: 1\r\n\r\n`;

export const REQUESTS: readonly string[] = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /a//b/../c?x=%00 HTTP/1.1\r\nHost: Example.COM:8080\r\nAccept: */*\r\nX-Empty:\r\nX-Pad: \t x \t\r\n\r\n',
  'HEAD /h HTTP/1.1\r\nHost: a\r\nConnection: close, X-A\r\nX-A: 1\r\n\r\n',
  `POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
  `PUT /c HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n${CHUNKED_BODY}`,
  `DELETE /d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n${CHUNKED_BODY}`,
  'POST http://h.example/x?y HTTP/1.1\r\nHost: other\r\ncontent-length: 3\r\n\r\nabc',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n',
  'GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
  'POST /old HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nab',
  'POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab',
  'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  `PATCH /t HTTP/1.1\r\nHost: a\r\nConnection: TE, X-End\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED_BODY}`,
  'GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\naGET /2 HTTP/1.1\r\nHost: a\r\n\r\n',
];

export const ANSWERS: readonly string[] = [
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-End: 1\r\n\r\n',
  'HTTP/1.1 200\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n',
  'HTTP/1.0 200 OK\r\n\r\nuntil the end',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 404 Not Found\r\nConnection: close, X-A\r\nX-A : 1\r\nContent-Length: 3\r\n\r\nabc',
];

const PIECES: readonly string[] = [
  ...'\r|\n|\0|\t| |  |:|;|,|/|?|#|*|%|@|[|]|"|\x0b|\x7f|\x80|\xff|0|1|f|-|+|_'.split('|'),
  '\r\n',
  '\r\n\r\n',
  '\r\n ',
  ' \r\n',
  '\n\r\n',
  '\r\r\n',
  '0\r\n\r\n',
  'HTTP/1.0',
  'HTTP/1.2',
  'http/1.1',
  'chunked',
  'chunked, chunked',
  'gzip, chunked',
  'identity',
  ';a',
  '0x3',
  'ffffffffffffffff',
  '100-continue',
  'close',
  'keep-alive',
  'content-length',
];

const LINES: readonly string[] = [
  'Content-Length: 3\r\n',
  'Content-Length: 0\r\n',
  'Content-Length:\r\n',
  'Content-Length: +3\r\n',
  'Content-Length: 3, 3\r\n',
  'Content-Length: 03\r\n',
  'Content-Length : 3\r\n',
  'Content_Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding:\tchunked\r\n',
  'Transfer-Encoding: \x0bchunked\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Transfer-Encoding:\r\n',
  'Transfer_Encoding: chunked\r\n',
  'Transfer-Encoding : chunked\r\n',
  'Transfer-Encoding\r\n : chunked\r\n',
  'Host: b\r\n',
  'Host:\r\n',
  'Connection: close\r\n',
  'Connection: keep-alive, Content-Length, Host\r\n',
  'Connection: upgrade\r\nUpgrade: h2c\r\n',
  'Expect: 100-continue\r\n',
  'Expect: x\r\n',
  'Max-Forwards: 0\r\n',
  'TE: trailers\r\n',
  'X: a\r\n b\r\n',
  'X:\r\n',
  ': x\r\n',
  'no colon\r\n',
  '\r\n',
];

/** One to three small changes. */
export function mutate(random: Random, message: string): string {
  let text = message;
  for (let changes = 1 + random.below(3); changes > 0; changes--) text = change(random, text);
  return text;
}

function change(random: Random, text: string): string {
  const at = random.below(text.length + 1);
  const length = random.below(4);
  switch (random.below(8)) {
    case 0:
      return text.slice(0, at) + text.slice(at + 1 + length);
    case 1:
      return text.slice(0, at) + random.pick(PIECES) + text.slice(at);
    case 2:
      return text.slice(0, at) + random.pick(PIECES) + text.slice(at + length);
    case 3: {
      const byte = String.fromCharCode(random.below(256));
      return text.slice(0, at) + byte + text.slice(at + 1);
    }
    case 4:
    case 5:
      return atLine(random, text, (line) => random.pick(LINES) + line);
    case 6:
      return atLine(random, text, (line) => line + line);
    default:
      return atLine(random, text, () => '');
  }
}

/** Changes one line, with its end. */
function atLine(random: Random, text: string, edit: (line: string) => string): string {
  const lines = text.split(/(?<=\r\n)/);
  const at = random.below(lines.length);
  lines[at] = edit(lines[at] as string);
  return lines.join('');
}

/** Cuts a text into one to five pieces. */
export function cut(random: Random, text: string): string[] {
  const ends = Array.from({ length: random.below(5) }, () => random.below(text.length + 1)).sort(
    (a, b) => a - b,
  );
  let from = 0;
  return [...ends, text.length].map((end) => {
    const piece = text.slice(from, end);
    from = end;
    return piece;
  });
}
