/**
 * A program for `kontrol run`: an HTTP server on PORT that says who it is. `node program.js NAME` ends at once on
 * TERM, like most programs: that nothing is cut is the wrapper's work. `/slow?ms=` answers late; `/crash` ends it.
 */
import { createServer } from 'node:http';

const name = process.argv[2] ?? '';

createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://x');
  if (url.pathname === '/crash') process.exit(3);
  request.resume();
  const answer = () =>
    response.end(JSON.stringify({ name, pid: process.pid, key: process.env['KONTROL_KEY'] ?? null }));
  // A little work, so that some requests are always open.
  request.on('end', () => setTimeout(answer, Number(url.searchParams.get('ms') ?? 5)));
}).listen(Number(process.env['PORT']), '127.0.0.1');
