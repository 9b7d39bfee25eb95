import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { PendingBody } from './pending-body.ts';

it('bytes come out as they went in, whatever the sizes', () => {
  const step = fc.oneof(
    fc.record({ add: fc.nat(40_000) }),
    fc.record({ take: fc.nat(16_384) }),
    fc.constant({ clear: true as const }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pending = new PendingBody();
      let expected = Buffer.alloc(0);
      let value = 0;
      for (const each of steps) {
        if ('add' in each) {
          value = (value + 1) % 251;
          const bytes = Buffer.alloc(each.add + 2, value);
          pending.append(bytes, 1, bytes.length - 1);
          expected = Buffer.concat([expected, bytes.subarray(1, -1)]);
        } else if ('take' in each) {
          const { buffer, start, end } = pending;
          const size = Math.min(each.take, end - start);
          assert.ok(buffer.subarray(start, start + size).equals(expected.subarray(0, size)));
          if (size > 0) pending.consume(size);
          expected = expected.subarray(size);
        } else {
          pending.clear();
          expected = Buffer.alloc(0);
        }
        assert.equal(pending.length, expected.length);
        assert.equal(pending.end > pending.start, expected.length > 0);
      }
    }),
  );
});
