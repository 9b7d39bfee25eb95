/** A program that registers itself with the library, as the guide shows it. */
import { createServer } from 'node:http';
import { registerWorker } from '../../../worker/index.ts';

const port = Number(process.env['PORT']);
const server = createServer((_request, response) => {
  response.end(JSON.stringify({ name: 'library', pid: process.pid, key: null }));
});
const worker = registerWorker({ registration: { service: 'library', port, name: 'library' } });
server.listen(port, '127.0.0.1', () => worker.ready());
process.once('SIGTERM', () => {
  worker.leave().then(() => {
    server.close();
    server.closeIdleConnections();
  });
});
