/** The one record of a request whose head was refused, or never completed. */
import type { Observer } from '../observe/record.ts';
import type { ClientIdentity } from './client-identity.ts';
import { type RefusedHead, recordOfRefused } from './journal.ts';
import type { RequestHead } from './request-head.ts';

type Facts = Pick<RefusedHead, 'id' | 'at' | 'status' | 'cause' | 'endedBy' | 'bytesOut' | 'totalMs'>;

/** Of its request line, what could be read; `client` is who sent it, whatever a proxy in between may say. */
export function recordRefused(
  observer: Observer,
  head: RequestHead,
  client: ClientIdentity,
  facts: Facts,
): void {
  observer.record(
    recordOfRefused({
      ...facts,
      protocol: head.minor === 1 ? 'HTTP/1.1' : 'HTTP/1.0',
      secure: client.secure,
      method: head.lineDone ? head.method : '',
      target: head.lineDone ? head.text(head.targetStart, head.targetEnd) : '',
      address: client.address,
    }),
  );
}
