/** Builds the one record of a request, from what its exchange knows or from the little that a refused head tells. */
import type { CauseCode } from '../../shared/causes.ts';
import type { Decision } from '../../shared/routing/decision.ts';
import type { EndedBy, Phase, RequestRecord } from '../observe/record.ts';
import type { HttpRequestView } from './request-view.ts';

export interface ExchangeFacts {
  readonly id: string;
  readonly at: number;
  readonly protocol: RequestRecord['protocol'];
  readonly view: HttpRequestView;
  readonly decision: Decision | null;
  readonly backend: string | null;
  readonly status: number;
  readonly backendStatus: number;
  readonly cause: CauseCode | null;
  readonly phase: Phase;
  readonly endedBy: EndedBy;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly retries: number;
  readonly queueMs: number | null;
  readonly connectMs: number | null;
  readonly firstByteMs: number | null;
  readonly totalMs: number;
}

export function recordOf(facts: ExchangeFacts): RequestRecord {
  const { view, decision } = facts;
  const labels = decision === null ? null : decision.labels;
  return {
    id: facts.id,
    at: facts.at,
    protocol: facts.protocol,
    secure: view.secure,
    method: view.method,
    host: view.host,
    target: view.target,
    address: view.address,
    referer: view.header('referer') ?? null,
    userAgent: view.header('user-agent') ?? null,
    domain: labels === null ? null : labels.domain,
    route: labels === null ? null : labels.route,
    service: labels === null ? null : labels.service,
    key: decision !== null && decision.type === 'forward' ? decision.key.key : null,
    backend: facts.backend,
    rule: labels === null ? null : labels.rule,
    status: facts.status,
    backendStatus: facts.backendStatus,
    cause: facts.cause,
    phase: facts.phase,
    endedBy: facts.endedBy,
    bytesIn: facts.bytesIn,
    bytesOut: facts.bytesOut,
    retries: facts.retries,
    queueMs: facts.queueMs,
    connectMs: facts.connectMs,
    firstByteMs: facts.firstByteMs,
    totalMs: facts.totalMs,
  };
}

/** A head that was refused or never completed: nothing was decided. */
export interface RefusedHead {
  readonly id: string;
  readonly at: number;
  readonly protocol: RequestRecord['protocol'];
  readonly secure: boolean;
  readonly method: string;
  readonly target: string;
  readonly address: string;
  readonly status: number;
  readonly cause: CauseCode;
  readonly endedBy: EndedBy;
  readonly bytesOut: number;
  readonly totalMs: number;
}

export function recordOfRefused(facts: RefusedHead): RequestRecord {
  return {
    ...facts,
    host: '',
    referer: null,
    userAgent: null,
    domain: null,
    route: null,
    service: null,
    key: null,
    backend: null,
    rule: null,
    backendStatus: 0,
    phase: 'head',
    bytesIn: 0,
    retries: 0,
    queueMs: null,
    connectMs: null,
    firstByteMs: null,
  };
}
