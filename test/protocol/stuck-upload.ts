/** For tests: an upload of which the backend takes no more, so that the client is held back. */
import type { TestProxy } from './harness.ts';
import type { Wire } from './wire.ts';

export async function stuckUpload(
  proxy: TestProxy,
): Promise<{ readonly client: Wire; readonly backend: Wire }> {
  const client = await proxy.client();
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n');
  const backend = await proxy.backend.connection();
  await backend.readHead();
  backend.socket.pause();
  const block = Buffer.alloc(65_536);
  for (let i = 0; i < 1_000 && client.socket.write(block); i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { client, backend };
}
