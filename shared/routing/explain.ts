/** Tells a recorder which hosts and routes were candidates and why each lost; slow and thorough, for Explain only. */
import type { CompiledDomain, CompiledRoute } from './compile-domain.ts';
import type { RequestView } from './decision.ts';
import type { Recorder } from './recorder.ts';
import type { Table } from './table.ts';

export function explainHosts(
  _table: Table,
  _host: string,
  _winner: CompiledDomain | undefined,
  _recorder: Recorder,
): void {}

export function explainRoutes(
  _domain: CompiledDomain,
  _path: string,
  _request: RequestView,
  _winner: CompiledRoute | null,
  _recorder: Recorder,
): void {}
