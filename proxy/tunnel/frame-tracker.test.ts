import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CLOSE_TO_BACKEND, FrameTracker } from './frame-tracker.ts';

function frame(length: number, masked: boolean, opcode = 2): Buffer {
  const size =
    length < 126
      ? [length]
      : length < 65_536
        ? [126, length >> 8, length & 255]
        : [127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 255, length & 255];
  size[0] = (size[0] as number) | (masked ? 128 : 0);
  return Buffer.concat([
    Buffer.from([128 | opcode, ...size]),
    Buffer.alloc(masked ? 4 : 0, 7),
    Buffer.alloc(length, 255),
  ]);
}

describe('frame tracker', () => {
  it('knows where frames of any length end, however they are cut', () => {
    for (const length of [0, 1, 125, 126, 300, 65_535, 65_536]) {
      for (const masked of [false, true]) {
        const bytes = Buffer.concat([frame(length, masked), frame(3, masked)]);
        const end = frame(length, masked).length;
        const step = Math.max(1, Math.floor(length / 50));
        const tracker = new FrameTracker();
        for (let at = 0; at < bytes.length; at += step) {
          const to = Math.min(bytes.length, at + step);
          tracker.pass(bytes, at, to);
          assert.equal(
            tracker.mayInsert,
            to === end || to === bytes.length,
            `${length} ${masked} after ${to}`,
          );
        }
      }
    }
  });

  it('lets nothing follow a close frame', () => {
    const tracker = new FrameTracker();
    assert.equal(tracker.mayInsert, true);
    const close = frame(2, false, 8);
    tracker.pass(close, 0, close.length);
    assert.equal(tracker.mayInsert, false);
  });

  it('its own close frame to a backend is masked and says 1001', () => {
    const [, , a, b, , , x, y] = CLOSE_TO_BACKEND;
    assert.equal(((x! ^ a!) << 8) | (y! ^ b!), 1001);
  });
});
