/**
 * Follows WebSocket frames (RFC 6455 §5.2) through a direction of a tunnel, without looking at payloads: a frame of
 * ours may only be put in where one of theirs has ended.
 */
const HEADER = 0;
const LENGTH = 1;
const MASK = 2;
const PAYLOAD = 3;

const CLOSE_OPCODE = 8;

export class FrameTracker {
  #state = HEADER;
  /** Bytes seen of the part that `#state` names. */
  #have = 0;
  #need = 2;
  #masked = false;
  #length = 0;
  #closing = false;
  #closed = false;

  /** Whether a frame may be inserted here: nothing is half sent, and no close frame has been. */
  get mayInsert(): boolean {
    return this.#state === HEADER && this.#have === 0 && !this.#closed;
  }

  /** Bytes `start`…`end` pass in this direction. */
  pass(buffer: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.#state === PAYLOAD) {
        const take = Math.min(this.#length, end - at);
        this.#length -= take;
        at += take;
        if (this.#length === 0) this.#endFrame();
        continue;
      }
      this.#headerByte(buffer[at] as number);
      at++;
    }
  }

  #headerByte(byte: number): void {
    const index = this.#have++;
    if (this.#state === HEADER) {
      if (index === 0) this.#closing = (byte & 15) === CLOSE_OPCODE;
      else {
        this.#masked = (byte & 128) !== 0;
        this.#length = byte & 127;
      }
    } else if (this.#state === LENGTH) this.#length = this.#length * 256 + byte;
    if (this.#have < this.#need) return;
    const short = this.#length;
    if (this.#state === HEADER && short >= 126) {
      this.#length = 0;
      this.#enter(LENGTH, short === 126 ? 2 : 8);
    } else if (this.#state !== MASK && this.#masked) this.#enter(MASK, 4);
    else if (this.#length > 0) this.#enter(PAYLOAD, 0);
    else this.#endFrame();
  }

  #endFrame(): void {
    this.#closed = this.#closed || this.#closing;
    this.#masked = false;
    this.#length = 0;
    this.#enter(HEADER, 2);
  }

  #enter(state: number, need: number): void {
    this.#state = state;
    this.#have = 0;
    this.#need = need;
  }
}

/** Close with status 1001, "going away" (§7.4.1), from a server. */
export const CLOSE_TO_CLIENT: Buffer = Buffer.from([0x88, 2, 0x03, 0xe9]);
/** The same from a client, which must mask; the key may be any. */
export const CLOSE_TO_BACKEND: Buffer = Buffer.from([0x88, 0x82, 0x11, 0x22, 0x33, 0x44, 0x12, 0xcb]);
