// The peer `http-proxy`, as its own documentation sets it up, with keep-alive to the backend.
const { readFileSync } = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { createProxyServer } = require('http-proxy');

const [port, httpsPort, backendPort, certificate, key] = process.argv.slice(2);
const proxy = createProxyServer({
  target: { host: '127.0.0.1', port: Number(backendPort) },
  agent: new http.Agent({ keepAlive: true, maxSockets: 256 }),
  xfwd: true,
});
proxy.on('error', (_error, _request, response) => response.destroy());
const handle = (request, response) => proxy.web(request, response);
http.createServer(handle).listen(Number(port), '127.0.0.1');
https
  .createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, handle)
  .listen(Number(httpsPort), '127.0.0.1');
