/**
 * Fields that the model has and this version does not put into force. They are refused: an object that promises a
 * limit, a cache or a client certificate must never be accepted without effect. A row goes when its feature comes.
 */
import type { FieldProblem } from '../../shared/errors.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Doc } from '../revisions/view.ts';

const NOT_YET: Partial<Record<Kind, Readonly<Record<string, (value: unknown) => boolean>>>> = {
  domain: { clientCertificates: isSet },
  service: {
    sticky: isSet,
    coalesce: isSet,
    cache: isSet,
    slowStart: (value) => value !== 0,
    eject: isSet,
  },
  rule: { rate: isSet },
  listener: {
    tls: isSet,
    proxyProtocol: (value) => Object.values(value as object).some((on) => on === true),
  },
};

function isSet(value: unknown): boolean {
  return value !== null && value !== false;
}

export function notYetInForce(kind: Kind, doc: Doc): FieldProblem[] {
  return Object.entries(NOT_YET[kind] ?? {}).flatMap(([path, promises]) =>
    doc[path] !== undefined && promises(doc[path])
      ? [{ path, message: 'is not available in this version; leave it out' }]
      : [],
  );
}
