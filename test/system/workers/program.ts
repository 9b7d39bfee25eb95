/**
 * A program for `kontrol run`: an HTTP server on PORT that says who it is. `node program.js NAME [FILE]` listens once
 * FILE exists, and ends at once on TERM, like most programs: that nothing is cut is the wrapper's work.
 * `/?ms=` answers late.
 */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';

const [name = '', file] = process.argv.slice(2);

const server = createServer((request, response) => {
  const ms = new URL(request.url ?? '/', 'http://x').searchParams.get('ms');
  const answer = () =>
    response.end(JSON.stringify({ name, pid: process.pid, key: process.env['KONTROL_KEY'] ?? null }));
  request.resume();
  // A little work, so that some requests are always open.
  request.on('end', () => setTimeout(answer, Number(ms ?? 5)));
});

function listen(): void {
  if (file === undefined || existsSync(file)) server.listen(Number(process.env['PORT']), '127.0.0.1');
  else setTimeout(listen, 20);
}
listen();
