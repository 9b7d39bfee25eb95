/** Whether a 101 is the answer to the WebSocket handshake that was sent (RFC 6455 §4.1, RFC 9110 §15.2.2). */
import { acceptForKey } from '../tunnel/websocket-handshake.ts';
import { UPGRADE, WEBSOCKET_ACCEPT, WEBSOCKET_KEY } from './field-kinds.ts';
import type { RequestHead } from './request-head.ts';
import type { ResponseHead } from './response-head.ts';

export function isSwitchAccepted(request: RequestHead, response: ResponseHead): boolean {
  const key = request.fields.find(WEBSOCKET_KEY);
  const accept = response.fields.find(WEBSOCKET_ACCEPT);
  return (
    key >= 0 &&
    accept >= 0 &&
    response.upgrade &&
    response.lists(UPGRADE, 'websocket') &&
    response.fields.value(accept) === acceptForKey(request.fields.value(key))
  );
}
