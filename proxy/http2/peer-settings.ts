/** The SETTINGS of a client (RFC 9113 §6.5): checked one by one, and what of them we act on. */
import * as h2 from './protocol.ts';

const ENTRY = 6;
const MAX_FRAME_SIZE = 2 ** 24 - 1;

export class PeerSettings {
  /** Window that a new stream has for its answer. */
  initialWindow = h2.DEFAULT_WINDOW;
  /** Size of the table that our encoder may use; null as long as it has not said. */
  tableSize: number | null = null;
  /** The least of what the last frame said of that: made smaller and larger again, its table lost its entries. */
  leastTableSize: number | null = null;

  /** Takes the payload of a frame; answers the error code of what is not valid, else `NO_ERROR`. */
  read(buffer: Buffer, start: number, end: number): number {
    if ((end - start) % ENTRY !== 0) return h2.FRAME_SIZE_ERROR;
    this.leastTableSize = null;
    for (let at = start; at < end; at += ENTRY) {
      const code = this.#take(buffer.readUInt16BE(at), buffer.readUInt32BE(at + 2));
      if (code !== h2.NO_ERROR) return code;
    }
    return h2.NO_ERROR;
  }

  #take(id: number, value: number): number {
    switch (id) {
      case h2.HEADER_TABLE_SIZE:
        this.tableSize = value;
        this.leastTableSize = Math.min(value, this.leastTableSize ?? value);
        return h2.NO_ERROR;
      case h2.ENABLE_PUSH:
      case h2.NO_RFC7540_PRIORITIES:
        return value <= 1 ? h2.NO_ERROR : h2.PROTOCOL_ERROR;
      case h2.INITIAL_WINDOW_SIZE:
        if (value > h2.MAX_WINDOW) return h2.FLOW_CONTROL_ERROR;
        this.initialWindow = value;
        return h2.NO_ERROR;
      case h2.MAX_FRAME_SIZE:
        return value >= h2.FRAME_SIZE && value <= MAX_FRAME_SIZE ? h2.NO_ERROR : h2.PROTOCOL_ERROR;
      default:
        // Whatever is not known is ignored.
        return h2.NO_ERROR;
    }
  }
}
