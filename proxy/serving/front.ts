/** Gives each accepted stream to the engine of its listener, and counts it until it ends. */
import type { Table } from '../../shared/routing/table.ts';
import type { ListenerSpec } from '../link/messages.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import type { Admission } from './admission.ts';
import type { AppliedTable } from './apply.ts';
import type { Connections } from './connections.ts';
import type { Environment } from './environment.ts';

export class Front {
  readonly #environment: Environment;
  readonly #connections: Connections;
  readonly #admission: Admission;

  constructor(
    environment: Environment,
    _table: AppliedTable,
    connections: Connections,
    admission: Admission,
  ) {
    this.#environment = environment;
    this.#connections = connections;
    this.#admission = admission;
  }

  accept(stream: ByteStream, _spec: ListenerSpec): void {
    this.#admission.opened();
    const connection = { drain: () => stream.close(), closeNow: () => stream.reset() };
    this.#connections.add(connection);
    stream.handler = {
      onData: () => {
        const answer = this.#environment.pages.render({
          cause: 'no_table',
          host: '',
          requestId: '',
          accept: undefined,
          retryAfter: 5,
          brand: null,
        });
        stream.write(
          Buffer.from(
            `HTTP/1.1 ${answer.status} Service Unavailable\r\nConnection: close\r\nX-Pid: ${process.pid}\r\nContent-Length: ${answer.body.length}\r\n\r\n`,
          ),
        );
        stream.write(answer.body);
        stream.close();
      },
      onEnd: () => stream.close(),
      onDrain: () => {},
      onClose: () => {
        this.#admission.closed();
        this.#connections.delete(connection);
      },
    };
    stream.resume();
  }

  certificatesChanged(_table: Table): void {}
}
