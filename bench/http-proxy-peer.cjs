// The peer `http-proxy`, as its own documentation sets it up, with keep-alive to the backend.
const { Agent, createServer } = require('node:http');
const { createProxyServer } = require('http-proxy');

const [port, backendPort] = process.argv.slice(2).map(Number);
const proxy = createProxyServer({
  target: { host: '127.0.0.1', port: backendPort },
  agent: new Agent({ keepAlive: true, maxSockets: 256 }),
  xfwd: true,
});
proxy.on('error', (_error, _request, response) => response.destroy());
createServer((request, response) => proxy.web(request, response)).listen(port, '127.0.0.1');
