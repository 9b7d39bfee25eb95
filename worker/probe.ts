/** Whether a program accepts connections on its port. */
import { connect } from 'node:net';

/** A program may listen on either loopback address, or on all. */
const LOCAL = ['127.0.0.1', '::1'];
const TIMEOUT_MS = 1_000;

/** True when something accepts on `port` of this machine, or of `host` where the proxies look for it. */
export async function accepts(port: number, host?: string): Promise<boolean> {
  const hosts = host === undefined ? LOCAL : [...LOCAL, host];
  const found = await Promise.all(hosts.map((each) => acceptsAt(port, each)));
  return found.includes(true);
}

function acceptsAt(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host, timeout: TIMEOUT_MS });
    socket.once('connect', () => {
      // Read to its end, not cut: a reset is more than some simple programs can bear.
      socket.unref();
      socket.resume();
      socket.end();
      resolve(true);
    });
    socket.once('timeout', () => socket.destroy());
    socket.on('error', () => {});
    socket.once('close', () => resolve(false));
  });
}
