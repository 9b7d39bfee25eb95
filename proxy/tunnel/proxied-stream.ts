/** A stream whose peer is whom a PROXY header names. All else is the stream below: bytes are not touched. */
import type { ByteStream, ByteStreamHandler } from '../stream/byte-stream.ts';
import type { SocketPair } from './proxy-header.ts';

export class ProxiedStream implements ByteStream {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly #below: ByteStream;

  constructor(below: ByteStream, { source, destination }: SocketPair) {
    this.#below = below;
    this.remoteAddress = source.address;
    this.remotePort = source.port;
    this.localAddress = destination.address;
    this.localPort = destination.port;
  }

  get handler(): ByteStreamHandler {
    return this.#below.handler;
  }

  set handler(handler: ByteStreamHandler) {
    this.#below.handler = handler;
  }

  get tls(): ByteStream['tls'] {
    return this.#below.tls;
  }

  get pendingBytes(): number {
    return this.#below.pendingBytes;
  }

  get closed(): boolean {
    return this.#below.closed;
  }

  write(chunk: Buffer): boolean {
    return this.#below.write(chunk);
  }

  writeShared(buffer: Buffer, start: number, end: number): boolean {
    return this.#below.writeShared(buffer, start, end);
  }

  writeAll(chunks: readonly Buffer[]): boolean {
    return this.#below.writeAll(chunks);
  }

  pause(): void {
    this.#below.pause();
  }

  resume(): void {
    this.#below.resume();
  }

  end(): void {
    this.#below.end();
  }

  close(lingerMs?: number): void {
    this.#below.close(lingerMs);
  }

  reset(): void {
    this.#below.reset();
  }
}
