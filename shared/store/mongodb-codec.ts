/**
 * Between plain JSON and what MongoDB stores. Any key survives, also those that its servers or its driver give a
 * meaning to; whatever somebody wrote by hand comes back as plain JSON, never as an object with behaviour.
 */
import { BSON, type Document } from 'mongodb';
import type { Fields, StoredRecord, Table } from './records.ts';

// `$` in front, dots and zero bytes mean something to servers, these names and those of every object to the driver.
const AWKWARD = /^\$|[.%\0]/g;
const DRIVER_NAMES = new Set(['_bsontype', ...Object.getOwnPropertyNames(Object.prototype)]);
const ESCAPED = /%([0-9A-F]{2})/g;

/** Without anything undefined. */
export function toBson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => toBson(item ?? null));
  if (typeof value !== 'object' || value === null) return value;
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return toBson(toJSON.call(value));
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([key, member]) => [escapedKey(key), toBson(member)]),
  );
}

function escapedKey(key: string): string {
  return DRIVER_NAMES.has(key) ? key.replace(/^./, escaped) : key.replace(AWKWARD, escaped);
}

function escaped(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}

export function fromBson(value: unknown): unknown {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'string':
    case 'boolean':
      return value;
    case 'bigint':
      return Number(value);
    case 'object':
      return value === null ? null : fromBsonObject(value);
    default:
      return null;
  }
}

function fromBsonObject(value: object): unknown {
  if (Array.isArray(value)) return value.map(fromBson);
  if (value instanceof Date) return value.toJSON();
  // A type of BSON has its name from its prototype; a document that carries the key has it itself.
  if ('_bsontype' in value && !Object.hasOwn(value, '_bsontype')) return fromBsonType(value);
  if (value instanceof RegExp) return String(value);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([key, member]) => [key.replace(ESCAPED, unescaped), fromBson(member)]),
  );
}

function fromBsonType(value: object & { readonly _bsontype?: unknown }): unknown {
  switch (value._bsontype) {
    case 'Long':
    case 'Decimal128': {
      const number = Number(String(value));
      return Number.isFinite(number) ? number : String(value);
    }
    case 'ObjectId':
      return String(value);
    default:
      try {
        return JSON.parse(BSON.EJSON.stringify(value));
      } catch {
        return String(value);
      }
  }
}

function unescaped(_: string, code: string): string {
  return String.fromCharCode(Number.parseInt(code, 16));
}

/** The record that a document is. An id that is not a string was made by hand, and is shown as text. */
export function toRecord(table: Table, document: Document): StoredRecord {
  const { _id, ...stored } = document;
  const version: unknown = stored[table.version];
  delete stored[table.version];
  if (table.token !== null) delete stored[table.token];
  return { id: idText(_id), version, fields: fromBson(stored) as Fields };
}

function idText(id: unknown): string {
  const plain = fromBson(id);
  return typeof plain === 'string' ? plain : JSON.stringify(plain);
}
