/**
 * A backend of the fault tests, as a process of its own: `node backend.js NAME PORT FILE`. The id of each POST is
 * in FILE, durably for a kill -9, before it is answered.
 */
import { openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';

const [name = '', port = '0', file = ''] = process.argv.slice(2);
const log = openSync(file, 'a');

createServer((request, response) => {
  const id = String(request.headers['x-id'] ?? '');
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  request.on('end', () => {
    if (request.method === 'POST') writeSync(log, `${id}\n`);
    // A little work, so that some requests are always open.
    setTimeout(
      () => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ backend: name, id, bytes }));
      },
      Number(id.length % 5) * 4,
    );
  });
}).listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'));
