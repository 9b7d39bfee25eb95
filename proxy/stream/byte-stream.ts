/**
 * What the protocol engines need of a connection, and nothing more. Plain net, TLS and the faster socket variants
 * implement it; which one is behind it never changes what bytes mean. One owner at a time: setting `handler` hands
 * a stream over (idle pool → exchange → tunnel) without losing or repeating a byte.
 */

/** What a visitor proved about itself with a certificate, on a connection that asked for one. */
export interface TlsClient {
  /** Digest of the authority whose certificates were asked for. */
  readonly authority: string;
  /** The name it asked for; empty for none. Node forgets that of a session of TLS 1.2 that is resumed: `tls.serverName` is null then. */
  readonly serverName: string;
  /** Whether it showed one that this authority signed and that was in force at the handshake. */
  readonly verified: boolean;
  /** The certificate it showed (DER), verified or not; null for none. */
  readonly certificate: Buffer | null;
}

/** Called by method, never by listener. No call comes after `onClose`, and none from inside a method of the stream. */
export interface ByteStreamHandler {
  /** Bytes `start`…`end` of `buffer` arrived. The buffer is lent: whoever needs bytes later copies them now. */
  onData(buffer: Buffer, start: number, end: number): void;
  /** The peer ended its side (FIN); the other direction stays open until `end`, `close` or `reset`. */
  onEnd(): void;
  /** What was written has left for the kernel after `write` had said false. */
  onDrain(): void;
  /** The connection is gone, in whatever way; exactly once. `error` when it was not an orderly close. */
  onClose(error: Error | null): void;
}

/** Takes whatever still happens on a stream that nobody is interested in any more. */
export const IGNORE: ByteStreamHandler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

export interface ByteStream {
  handler: ByteStreamHandler;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Our end, as the peer sees it; an empty text on a Unix socket. */
  readonly localAddress: string;
  readonly localPort: number;
  /** Server name and protocol of TLS; null on plain connections. */
  readonly tls: {
    readonly serverName: string | null;
    readonly alpn: string | null;
    readonly version: string;
    /** Null where no certificate was asked for. */
    readonly client: TlsClient | null;
  } | null;
  /** Bytes accepted by `write` that the kernel has not taken yet. */
  readonly pendingBytes: number;
  readonly closed: boolean;
  /**
   * Sends `chunk`. The stream keeps a reference to what it cannot send at once, so the caller never touches these
   * bytes again (whoever writes from a scratch buffer copies, or uses `writeShared`). False above the high-water
   * mark (64 KB): stop until `onDrain`.
   */
  write(chunk: Buffer): boolean;
  /** Sends bytes `start`…`end` of a buffer that the caller will reuse: what cannot be sent at once is copied. */
  writeShared(buffer: Buffer, start: number, end: number): boolean;
  /** Several pieces in one system call; same promise as `write`. */
  writeAll(chunks: readonly Buffer[]): boolean;
  /** No `onData` until `resume`; the peer is held back by the kernel. A reset is still noticed. */
  pause(): void;
  resume(): void;
  /** Sends what is pending, then FIN. Reading goes on. */
  end(): void;
  /** Sends what is pending, then FIN, and frees everything when the peer ends its side or `lingerMs` is over. */
  close(lingerMs?: number): void;
  /** Frees at once; the peer sees a reset. Pending bytes are lost. */
  reset(): void;
}
