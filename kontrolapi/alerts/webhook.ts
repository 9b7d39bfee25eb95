/**
 * One POST of a message as JSON. With a secret it is signed: `Kontrol-Signature` is `v1=` and the HMAC-SHA256 (hex) of
 * the value of `Kontrol-Timestamp` (seconds), a dot and the body, so that nobody can make one up or send it again later.
 */
import { createHmac } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Message } from './message.ts';
import { endpointOfUrl, guardedLookup, type Refusal } from './targets.ts';

/** From the look-up to the head of the answer, in ms. */
const TIMEOUT_MS = 10_000;

export interface WebhookTarget {
  readonly url: string;
  /** Null: not signed. */
  readonly secret: string | null;
}

/** What `Kontrol-Signature` has to be. */
export function signatureOf(secret: string, timestamp: string, body: string): string {
  return `v1=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`;
}

/**
 * Resolves when the receiver answered 2xx; rejects with an Error that says what it did instead, and when `end` aborts.
 * Follows no redirect.
 */
export function postWebhook(
  target: WebhookTarget,
  message: Message,
  now: number,
  refusal: Refusal,
  end: AbortSignal,
): Promise<void> {
  const url = new URL(target.url);
  const endpoint = endpointOfUrl(url);
  const why = refusal(endpoint);
  if (why !== null) return Promise.reject(new Error(`${endpoint} may not be reached: ${why}`));
  const body = JSON.stringify(message);
  const timestamp = String(Math.floor(now / 1_000));
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    'user-agent': 'kontrol',
    'kontrol-delivery': message.id,
    'kontrol-timestamp': timestamp,
  };
  if (target.secret !== null) headers['kontrol-signature'] = signatureOf(target.secret, timestamp, body);
  const port = Number(endpoint.slice(endpoint.lastIndexOf(':') + 1));
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const call = send(
      url,
      { method: 'POST', headers, agent: false, lookup: guardedLookup(port, refusal), signal: end },
      (response) => {
        clearTimeout(deadline);
        const { statusCode = 0 } = response;
        // Nothing of the answer is wanted, and it may never end.
        response.destroy();
        if (statusCode >= 200 && statusCode < 300) resolve();
        else reject(new Error(`it answered ${statusCode}`));
      },
    );
    const deadline = setTimeout(
      () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1_000} s`)),
      TIMEOUT_MS,
    );
    call.on('error', (error) => {
      clearTimeout(deadline);
      reject(error);
    });
    call.end(body);
  });
}
