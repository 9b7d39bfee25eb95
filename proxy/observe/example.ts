/** A request record as the tests of this folder start from. */
import type { RequestRecord } from './record.ts';

export function exampleRecord(changes: Partial<RequestRecord> = {}): RequestRecord {
  return {
    id: '01j9x4',
    at: 1_700_000_000_123,
    protocol: 'HTTP/1.1',
    secure: true,
    method: 'GET',
    host: 'shop.example.com',
    target: '/cart?item=7',
    address: '192.0.2.7',
    referer: 'https://example.com/',
    userAgent: 'curl/8.0',
    domain: 'shop.example.com',
    route: 0,
    service: 'shop',
    key: 42,
    backend: '10.0.0.5:3000',
    rule: null,
    status: 200,
    backendStatus: 200,
    cause: null,
    phase: 'done',
    endedBy: 'complete',
    bytesIn: 0,
    bytesOut: 5_120,
    retries: 0,
    cache: null,
    queueMs: null,
    connectMs: 0.25,
    firstByteMs: 12.5,
    totalMs: 13.062,
    ...changes,
  };
}
