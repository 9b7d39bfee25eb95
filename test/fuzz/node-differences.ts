/**
 * Every way in which the engine may read a connection unlike Node's parser, each with its reason. A difference that no
 * row explains fails the test.
 */
import type { EngineReading, EngineRequest } from './engine-reading.ts';
import { isAuthority, isTarget } from './naive.ts';
import type { NodeReading } from './node-reading.ts';

export interface Difference {
  readonly engine: EngineReading;
  readonly node: NodeReading;
  readonly text: string;
  /** The first request that only one of them has; or none: then the ends differ. */
  readonly engineNext: EngineRequest | null;
  readonly nodeNext: NodeReading['requests'][number] | null;
}

export interface Explanation {
  readonly what: string;
  readonly why: string;
  /** A connection that shows it. */
  readonly example: string;
  readonly explains: (difference: Difference) => boolean;
}

const values = ({ nodeNext }: Difference, name: string) =>
  (nodeNext?.fields ?? []).filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);

const requestLine = (rest: string) => /^(?:\r\n)*(.*)/.exec(rest)?.[1] ?? '';

const isRefused = ({ engine }: Difference) => !['idle', 'closed', 'unfinished'].includes(engine.end);

/** Node takes a request that the engine refuses. */
const onlyNode =
  (test: (request: NodeReading['requests'][number], all: Difference) => boolean) => (all: Difference) =>
    all.engineNext === null && all.nodeNext !== null && isRefused(all) && test(all.nodeNext, all);

/** The engine takes a request that Node refuses. */
const onlyEngine = (test: (request: EngineRequest, all: Difference) => boolean) => (all: Difference) =>
  all.engineNext !== null && all.nodeNext === null && test(all.engineNext, all);

/** They read the same requests and end otherwise. */
const onlyEnd = (test: (all: Difference) => boolean) => (all: Difference) =>
  all.engineNext === null && all.nodeNext === null && test(all);

export const DIFFERENCES: readonly Explanation[] = [
  // Where Node takes what the engine refuses: each could be read in two ways by what stands behind.
  {
    what: 'a request line without a version',
    why: 'Node reads it as HTTP/0.9; engine.md allows 1.0 and 1.1 only',
    example: 'GET /\r\nHost: a\r\n\r\n',
    explains: onlyNode(({ version }) => version === '0.9'),
  },
  {
    what: 'several Host fields',
    why: 'Node keeps the first, others the last: RFC 9112 §3.2 asks for 400',
    example: 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    explains: onlyNode((_request, all) => values(all, 'host').length > 1),
  },
  {
    what: 'a Host that is none',
    why: 'Node does not look at it; RFC 9112 §3.2 asks for 400',
    example: 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
    explains: onlyNode((_request, all) => values(all, 'host').some((host) => !isAuthority(host))),
  },
  {
    what: 'a target in no form of RFC 9112 §3.2',
    why: 'Node hands on whatever stands there',
    example: 'GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n',
    explains: onlyNode(({ method, target }) => !isTarget(method, target)),
  },
  {
    what: 'a byte in the target that no URI may hold',
    why: 'Node takes #, which some backends cut at, and bytes above 127, which backends decode in different ways',
    example: 'GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n',
    explains: onlyNode(({ target }) => !/^[!"$-~]+$/.test(target)),
  },
  {
    what: 'a Transfer-Encoding that is not exactly chunked',
    why: 'Node takes an empty one, other codings before chunked, and any in HTTP/1.0',
    example: 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    explains: onlyNode(
      ({ version }, all) =>
        values(all, 'transfer-encoding').some((value) => value.toLowerCase() !== 'chunked') ||
        values(all, 'transfer-encoding').length > (version === '1.1' ? 1 : 0),
    ),
  },
  {
    what: 'an expectation beside 100-continue',
    why: 'Node looks for the word anywhere in the field',
    example: 'GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n',
    explains: onlyNode((_request, all) =>
      values(all, 'expect').some((value) => value.toLowerCase() !== '100-continue'),
    ),
  },
  {
    what: 'Max-Forwards that is no number, or two of them, on OPTIONS',
    why: 'Node is no intermediary and does not look at it',
    example: 'OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n',
    explains: onlyNode(({ method }, all) => method === 'OPTIONS' && values(all, 'max-forwards').length > 0),
  },
  {
    what: 'TRACE',
    why: 'refused by engine.md',
    example: 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n',
    explains: onlyNode(({ method }) => method === 'TRACE'),
  },
  {
    what: 'several spaces in the request line',
    why: 'Node skips them; RFC 9112 §3 has exactly one, and others take the rest for a part of the target',
    example: 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n',
    explains: onlyNode((_request, { engine }) => / {2,}/.test(requestLine(engine.rest))),
  },
  {
    what: 'a bare CR or LF before a request',
    why: 'Node skips any number of them; the engine skips CRLF, eight at most',
    example: '\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
    explains: (all) =>
      all.engineNext === null && isRefused(all) && /^(\r\n)*(\n|\r(?!\n))|^(\r\n){9}/.test(all.engine.rest),
  },
  {
    what: 'a request behind one that was refused',
    why: 'its server answers 400 or 417 by itself and reads on; the engine reads nothing more',
    example: 'GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
    explains: onlyNode((_request, { node }) => /^(status 4|expectation)/.test(node.error ?? '')),
  },
  // Where the engine takes what Node refuses: none of it leaves a second reading.
  {
    what: 'a method that Node does not know',
    why: 'any token may be a method (RFC 9110 §9.1); backends decide',
    example: 'BREW / HTTP/1.1\r\nHost: a\r\n\r\n',
    explains: ({ engineNext, node }) => engineNext !== null && node.error === 'HPE_INVALID_METHOD',
  },
  {
    what: 'a framing field in the trailers',
    why: 'Node reads trailers as if they could frame the message; the engine drops them',
    example:
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nTransfer-Encoding: x\r\n\r\n',
    explains: onlyEngine(
      ({ body }, { node }) =>
        body !== '' && /^HPE_INVALID_(CONTENT_LENGTH|TRANSFER_ENCODING)$/.test(node.error ?? ''),
    ),
  },
  {
    what: 'a chunk extension that is no valid list of them',
    why: 'the engine drops extensions without reading them',
    example: 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a/b\r\na\r\n0\r\n\r\n',
    explains: onlyEngine(({ body }, { node }) => body !== '' && node.error === 'HPE_STRICT'),
  },
  {
    what: 'anything behind a request with Upgrade',
    why: 'Node takes it for the new protocol and finds no fault in it; the engine drops the Upgrade and reads on',
    example:
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
    explains: ({ node, nodeNext, text }) =>
      nodeNext === null &&
      node.error === null &&
      /\r\nUpgrade:/i.test(text) &&
      /\r\nConnection:.*upgrade/i.test(text),
  },
  // Where only the end of the connection differs.
  {
    what: 'bytes behind a request that closes the connection',
    why: 'the engine does not read them, Node calls them an error',
    example: 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nmore',
    explains: onlyEnd(
      ({ engine, node }) => engine.end === 'closed' && node.error === 'HPE_CLOSED_CONNECTION',
    ),
  },
  {
    what: 'the first letter of a method, and then the end',
    why: 'Node finds nothing missing',
    example: 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nP',
    explains: onlyEnd(
      ({ engine, node }) =>
        engine.end === 'unfinished' && node.error === null && /^(\r\n)*\w$/.test(engine.rest),
    ),
  },
];
