# A worker in a container. The wrapper is process 1, so `docker stop -t 60` drains; the container's own address is what
# the API sees, so --host is not needed on a shared network. Build it beside your program, with Kontrol in ./kontrol
# as `make build` left it on such a system (dist and node_modules):
#
#   docker run -e KONTROL_URL=http://api:7000 -e KONTROL_TOKEN=… my-web
FROM node:20-slim
COPY kontrol /opt/kontrol
WORKDIR /srv/web
COPY . .
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/opt/kontrol/dist/cli/main.js", "run", "--service", "web", "--port", "3000", "--"]
CMD ["node", "server.js"]
