/** The example configurations that the other proxies publish, as they stand there. */

export const GO_REVERSE_PROXY = `---
tcp:
  target: "localhost:8080"
  port: ":8020"

http_routes:
  - target: "http://localhost:8081"
    host: "localhost"

  - target: "http://localhost:8083"
    host: "admin.localhost"
    path_prefix: "/users"

  - target: "http://localhost:8084"
    host: "admin.localhost"
    path_prefix: "/"

http_config:
  port: ":8021"
  shutdown_timeout: "5s"

log_level: "debug"
`;

export const MONKEY = `##
## Proxy-Reverse configuration.
##

[PROXY_DEFAULTS]
LoadBalance First-Alive

[PROXY_ENTRY]
ServerList Host4:80 Host5:8080
Match /*.php

[PROXY_ENTRY]
ServerList Host1:80 Host2:80 Host3:80
LoadBalance Round-Robin
Match /*.jpg
Match /*.png
Match /*.css
Match /*.js
Match /*.html
`;

export const MONKEY_WEIGHTED = `[PROXY_ENTRY]
\tServerList 127.0.0.1:80 127.0.0.1:81 127.0.0.1:80 127.0.0.1:82 127.0.0.1:80 127.0.0.1:81
\tLoadBalancer RoundRobin
\tMatch ^/.*
`;

export const WEBSOCKET_REVERSE_PROXY = `[frontend]
host=rp_v11
port=8080

[websocket]
algorithm=round-robin
server1=es1_hc:8080
server2=es2_hc:8080
server3=es3_hc:8080

[http]
algorithm=random
#server 1 configuration
server1_addr=es1_hc:8080
server1_max_workers=10
server1_min_workers=3
server1_worker_timeout=3
server1_buffer_size=20
#server 2 configuration
server2_addr=es2_hc:8080
server2_max_workers=10
server2_min_workers=3
server2_worker_timeout=3
server2_buffer_size=20
#server 3 configuration
server3_addr=es3_hc:8080
server3_max_workers=10
server3_min_workers=3
server3_worker_timeout=3
server3_buffer_size=20
`;

export const PROXY_ETC = `
		dbPath : 'C:/tingoDB/data',
		maxSockets : 500,
		workers : 4,
		tcpTimeout : 90,
		httpKeepAlive : true,
		//UI
		app : {
			name : 'proxy-etc',
			hostname : 'localhost',
			port : 3333,
		},
		http : {
			hostname : 'localhost',
			port : 80,
		},
		https : {
			hostname : 'localhost',
			port : 443,
			keyPath : './config/keys/errzero.private.pem',
			certPath : './config/keys/errzero.public.pem'
		},
		memoryMonitor : {
			memoryLimit : 100, //MBs
			gracefulWait : 30, //seconds
			checkInterval : 60 //seconds
		},
		credentials : {
			username : "admin",
			password : "admin"
		}
`;

/** Its routes, as it writes them down. */
export const PROXY_ETC_ROUTES = `{
  "www.errzero.com": {
    "source": "www.errzero.com",
    "targets": [ { "host": "192.168.1.179", "port": "8080", "id": 2 } ],
    "sessionType": "Non Sticky",
    "_id": 2
  },
  "shop.errzero.com/cart": {
    "source": "shop.errzero.com/cart",
    "targets": [ { "host": "192.168.1.180", "port": 8080 }, { "host": "192.168.1.181", "port": 8080 } ],
    "sessionType": "Sticky"
  },
  "/static": { "source": "/static", "targets": [ { "host": "192.168.1.182", "port": "80" } ] }
}`;
