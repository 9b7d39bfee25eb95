/**
 * Objects in YAML (or JSON) files: any number of documents, each one object with its `kind`, a list of them, or
 * `{objects: […]}`. Every problem names its file, line and column.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Document,
  isCollection,
  isMap,
  isNode,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from 'yaml';
import { type FieldProblem, KontrolError } from '../shared/errors.ts';
import {
  COLLECTIONS,
  KINDS,
  type Kind,
  nameOf,
  parseObject,
  problemsOf as schemaProblems,
} from '../shared/model/kinds.ts';
import { settingsInputSchema } from '../shared/model/settings.ts';
import { nearest } from '../shared/nearest.ts';
import { WrongUse } from './wrong-use.ts';

export interface FileObject {
  readonly kind: Kind;
  readonly name: string;
  /** As it stands in the file, with `kind`. */
  readonly input: Readonly<Record<string, unknown>>;
  /** `file:line:column` of a dotted path inside it; of the object itself for a path that is not there. */
  where(path: string): string;
}

/** Reads files, folders (their .yaml, .yml and .json files, by name) and `-` for standard input. */
export function readObjects(paths: readonly string[]): FileObject[] {
  return paths.flatMap(expand).flatMap((path) => readFile(path));
}

function expand(path: string): string[] {
  if (path === '-') return [path];
  try {
    if (!statSync(path).isDirectory()) return [path];
    const files = readdirSync(path)
      .filter((file) => /\.(ya?ml|json)$/.test(file))
      .sort();
    if (files.length === 0)
      throw new KontrolError('invalid', `${path}: the folder has no .yaml, .yml or .json file`);
    return files.map((file) => join(path, file));
  } catch (error) {
    if (error instanceof KontrolError) throw error;
    throw new KontrolError('invalid', `${path}: cannot be read: ${(error as Error).message}`);
  }
}

function readFile(path: string): FileObject[] {
  let text: string;
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    throw new KontrolError('invalid', `${path}: cannot be read: ${(error as Error).message}`);
  }
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  if (!Array.isArray(documents)) return [];
  return documents.flatMap((document) => objectsOf(path, document, lines));
}

function objectsOf(file: string, document: Document.Parsed, lines: LineCounter): FileObject[] {
  const at = (node: unknown): string => {
    const offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [broken] = document.errors;
  if (broken !== undefined) {
    const { line, col } = lines.linePos(broken.pos[0]);
    throw new KontrolError('invalid', `${file}:${line}:${col}: ${broken.message.split('\n')[0]}`);
  }
  const root = document.contents;
  if (root === null) return [];
  const list = isMap(root) && root.has('objects') ? root.get('objects', true) : root;
  const nodes = isSeq(list) ? (list.items as Node[]) : [list as Node];
  return nodes.map((node) => {
    if (!isMap(node)) throw new KontrolError('invalid', `${at(node)}: expected an object with a kind`);
    const input = contentOf(node, document, at(node));
    const kind = kindOf(input['kind']);
    if (kind === undefined)
      throw new KontrolError('invalid', `${at(deepest(node, 'kind'))}: ${noKind(input['kind'])}`);
    return {
      kind,
      name: nameOf(kind, input as { name?: string }),
      input: { ...input, kind },
      where: (path) => at(deepest(node, path)),
    };
  });
}

/** Throws `invalid` for aliases that name more than can be meant, or what is not there. */
function contentOf(node: Node, document: Document.Parsed, place: string): Record<string, unknown> {
  try {
    return node.toJS(document, { maxAliasCount: 100 }) as Record<string, unknown>;
  } catch (error) {
    throw new KontrolError('invalid', `${place}: ${(error as Error).message}`);
  }
}

/** The node of a dotted path, or the last one on the way to it. */
function deepest(root: Node, path: string): Node {
  let node: Node = root;
  for (const step of path === '' ? [] : path.split('.')) {
    if (!isCollection(node)) return node;
    const next = node.get(isSeq(node) ? Number(step) : step, true) as Node | undefined;
    if (next === undefined || !isNode(next)) return node;
    node = next;
  }
  return node;
}

/** Accepts `domain`, `domains` and `Domain`; undefined for what is no kind. */
export function kindOf(text: unknown): Kind | undefined {
  if (typeof text !== 'string') return undefined;
  const lower = text.toLowerCase();
  return KINDS.find((kind) => kind === lower || COLLECTIONS[kind] === lower);
}

/** The kind a person named on the command line, or an error that lists them. */
export function requireKind(text: string): Kind {
  const kind = kindOf(text);
  if (kind === undefined) throw new WrongUse(noKind(text));
  return kind;
}

function noKind(text: unknown): string {
  const kinds = `kinds are ${KINDS.join(', ')}`;
  if (typeof text !== 'string') return `the object says no kind; ${kinds}`;
  const meant = nearest(text, KINDS);
  return `there is no kind '${text.slice(0, 64)}'; ${meant === null ? kinds : `did you mean ${meant}?`}`;
}

/** Problems of the objects by their schemas alone, each with its place; certificates and alerts may still carry their secrets. */
export function problemsOf(objects: readonly FileObject[]): string[] {
  const found: Located[] = [];
  const seen = new Map<string, FileObject>();
  for (const object of objects) {
    const { kind: _kind, ...fields } = object.input;
    const earlier = seen.get(`${object.kind}/${object.name}`);
    if (earlier !== undefined)
      found.push({
        where: object.where(''),
        text: `${object.kind} ${object.name} stands also at ${earlier.where('')}`,
      });
    seen.set(`${object.kind}/${object.name}`, object);
    if (object.kind === 'certificate') continue;
    for (const { path, message } of problemsOfInput(object.kind, fields))
      found.push(located(object, path, message));
  }
  return inOrder(found);
}

/** A problem with its `file:line:column`. */
export interface Located {
  readonly where: string;
  readonly text: string;
}

export function located(object: FileObject, path: string, message: string): Located {
  return { where: object.where(path), text: path === '' ? message : `${path}: ${message}` };
}

/** As lines, in the order in which one reads: by file as they were given, then line, then column. */
export function inOrder(found: readonly Located[]): string[] {
  const files = new Map<string, number>();
  const keyed = found.map(({ where, text }) => {
    const [, file = '', line, column] = /^(.*):(\d+):(\d+)$/s.exec(where) ?? [];
    if (!files.has(file)) files.set(file, files.size);
    return {
      file: files.get(file) ?? 0,
      line: Number(line),
      column: Number(column),
      told: `${where}: ${text}`,
    };
  });
  keyed.sort((a, b) => a.file - b.file || a.line - b.line || a.column - b.column);
  return keyed.map(({ told }) => told);
}

function problemsOfInput(kind: Kind, fields: object): readonly FieldProblem[] {
  if (kind === 'settings') {
    const { error } = settingsInputSchema.safeParse(fields);
    return error === undefined ? [] : schemaProblems(error, settingsInputSchema);
  }
  const parsed = parseObject(kind, fields);
  return parsed.ok ? [] : parsed.problems;
}
