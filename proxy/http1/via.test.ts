import assert from 'node:assert/strict';
import { test } from 'node:test';
import { passesIn } from './via.ts';

const passes = (value: string) => passesIn(Buffer.from(`(${value})`), 1, value.length + 1);

test('counts the proxies of our name among those that Via lists', () => {
  const cases: [string, number][] = [
    ['', 0],
    ['1.1 cdn', 0],
    ['1.1 kontrol', 1],
    ['2.0\tKontrol', 1],
    ['HTTP/1.1  kontrol (of the edge)', 1],
    ['1.0 kontrol, 1.1 cdn (kontrol),1.1 kontrol ,2.0 kontrol', 3],
    ['1.1 kontrol.example, 1.1 kontrolled, kontrol, kontrol 1.1', 0],
    [' , ,1.1 ,', 0],
  ];
  for (const [value, count] of cases) assert.equal(passes(value), count, value);
});
