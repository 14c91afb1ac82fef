/**
 * SCIM filters (RFC 7644 section 3.4.2.2) and PATCH paths (section 3.5.2), parsed in one pass over the text: linear time, bounded depth and size,
 * no regular expression that can backtrack. Not > and > or.
 *
 * Beyond the RFC, because identity providers send it: an unquoted value (`externalId eq jyoung`), operators in any case, and
 * `emails[type eq "work"].value eq "x"`.
 */
import { UsherError } from '../../errors.ts';
import { defaultScimLimits, type ScimLimits } from './limits.ts';
import {
  type AttributeDefinition,
  type AttributePath,
  findAttribute,
  type ResourceSchema,
  resolvePath,
} from './schema.ts';

export const comparisons = ['eq', 'ne', 'co', 'sw', 'ew', 'gt', 'ge', 'lt', 'le'] as const;
export type Comparison = (typeof comparisons)[number];
export type FilterValue = string | number | boolean | null;

export type Filter =
  | { kind: 'and' | 'or'; terms: Filter[] }
  | { kind: 'not'; term: Filter }
  | { kind: 'compare'; path: AttributePath; operator: Comparison; value: FilterValue }
  | { kind: 'present'; path: AttributePath }
  /** One value of the list must meet all of `filter`, whose paths are sub-attributes. */
  | { kind: 'values'; path: AttributePath; filter: Filter };

export interface PatchPath {
  path: AttributePath;
  /** Over the sub-attributes of one value. */
  filter: Filter | null;
  sub: AttributeDefinition | null;
}

export type FilterLimits = Pick<ScimLimits, 'filterLength' | 'filterDepth' | 'filterTerms'>;

/** Throws `invalid_filter`, naming the place. */
export function parseFilter(text: string, schema: ResourceSchema, limits: FilterLimits = defaultScimLimits): Filter {
  if (text.length > limits.filterLength)
    throw new UsherError('invalid_filter', `The filter is longer than ${limits.filterLength} characters.`);
  const parser = new Parser(text, schema, 'invalid_filter', limits);
  const filter = parser.readOr(null);
  parser.expectEnd();
  return filter;
}

/** Throws `invalid_path`. */
export function parsePatchPath(text: string, schema: ResourceSchema): PatchPath {
  if (text.length > defaultScimLimits.filterLength)
    throw new UsherError('invalid_path', `The path is longer than ${defaultScimLimits.filterLength} characters.`);
  const parser = new Parser(text, schema, 'invalid_path', defaultScimLimits);
  const result = parser.readPatchPath();
  parser.expectEnd();
  return result;
}

const isWordCharacter = (character: string | undefined): boolean =>
  character !== undefined && /[^\s()[\]"]/.test(character);

class Parser {
  private at = 0;
  private depth = 0;
  private terms = 0;
  private readonly text: string;
  private readonly schema: ResourceSchema;
  private readonly code: 'invalid_filter' | 'invalid_path';

  private readonly limits: FilterLimits;

  constructor(text: string, schema: ResourceSchema, code: 'invalid_filter' | 'invalid_path', limits: FilterLimits) {
    this.limits = limits;
    this.text = text;
    this.schema = schema;
    this.code = code;
  }

  /** `within` is the list attribute whose values are filtered, inside brackets. */
  readOr(within: AttributeDefinition | null): Filter {
    if (++this.depth > this.limits.filterDepth) this.fail(`nested deeper than ${this.limits.filterDepth}`);
    const terms = [this.readAnd(within)];
    while (this.takeWord('or')) terms.push(this.readAnd(within));
    this.depth--;
    return terms.length === 1 && terms[0] ? terms[0] : { kind: 'or', terms };
  }

  private readAnd(within: AttributeDefinition | null): Filter {
    const terms = [this.readTerm(within)];
    while (this.takeWord('and')) terms.push(this.readTerm(within));
    return terms.length === 1 && terms[0] ? terms[0] : { kind: 'and', terms };
  }

  private readTerm(within: AttributeDefinition | null): Filter {
    if (++this.terms > this.limits.filterTerms) this.fail(`more than ${this.limits.filterTerms} terms`);
    if (this.take('(')) {
      const inner = this.readOr(within);
      this.expect(')');
      return inner;
    }
    // `not` is a word of its own only before a parenthesis; an attribute could begin with it.
    const start = this.at;
    if (this.takeWord('not')) {
      if (this.take('(')) {
        const inner = this.readOr(within);
        this.expect(')');
        return { kind: 'not', term: inner };
      }
      this.at = start;
    }
    return this.readComparison(within);
  }

  private readComparison(within: AttributeDefinition | null): Filter {
    const path = this.readPath(within);
    if (!within && this.text[this.at] === '[') {
      this.at++;
      if (!path.attribute) this.fail('a list attribute is expected before [');
      const inner = this.readOr(path.attribute);
      this.expect(']');
      if (this.text[this.at] !== '.') return { kind: 'values', path, filter: inner };
      this.at++;
      const sub = this.readComparison(path.attribute);
      return { kind: 'values', path, filter: { kind: 'and', terms: [inner, sub] } };
    }
    const operator = this.readWord().toLowerCase();
    if (operator === 'pr') return { kind: 'present', path };
    if (!comparisons.includes(operator as Comparison))
      this.fail(operator ? `«${operator}» is no operator` : 'an operator is missing');
    const value = this.readValue();
    const type = (path.sub ?? path.attribute)?.type;
    if (['gt', 'ge', 'lt', 'le'].includes(operator) && (type === 'boolean' || type === 'binary'))
      this.fail(`${operator} can not compare a ${type}`);
    return { kind: 'compare', path, operator: operator as Comparison, value };
  }

  private readPath(within: AttributeDefinition | null): AttributePath {
    const start = this.at;
    const word = this.readWord();
    if (word === '') this.fail('an attribute is expected');
    if (within) {
      const sub =
        findAttribute(within.subAttributes, word) ??
        (within.type !== 'complex' && word.toLowerCase() === 'value' ? within : undefined);
      if (sub) return { extension: null, attribute: sub, sub: null };
    } else {
      const path = resolvePath(this.schema, word);
      if (path?.attribute?.returned === 'never')
        throw new UsherError('sensitive', `«${path.attribute.name}» is never compared.`);
      if (path?.attribute) return path;
    }
    this.at = start;
    return this.fail(`«${word}» is no attribute${within ? ` of ${within.name}` : ''}`);
  }

  private readValue(): FilterValue {
    this.skipSpace();
    if (this.text[this.at] === '"') return this.readString();
    const word = this.readWord();
    if (word === '') this.fail('a value is missing');
    if (/^true$/i.test(word)) return true;
    if (/^false$/i.test(word)) return false;
    if (/^null$/i.test(word)) return null;
    if (/^-?\d{1,15}(\.\d{1,15})?$/.test(word)) return Number(word);
    return word;
  }

  private readString(): string {
    const start = this.at;
    for (this.at++; this.at < this.text.length; this.at++) {
      if (this.text[this.at] === '\\') this.at++;
      else if (this.text[this.at] === '"') {
        this.at++;
        try {
          return JSON.parse(this.text.slice(start, this.at)) as string;
        } catch {
          this.at = start;
          return this.fail('the text in quotes is no JSON string');
        }
      }
    }
    this.at = start;
    return this.fail('a closing quote is missing');
  }

  readPatchPath(): PatchPath {
    const word = this.readWord();
    const path = resolvePath(this.schema, word);
    if (!path) this.fail(word === '' ? 'an attribute is expected' : `«${word}» is no attribute`);
    if (this.text[this.at] !== '[') return { path, filter: null, sub: path.sub };
    if (!path.attribute || path.sub) this.fail('a list attribute is expected before [');
    this.at++;
    const filter = this.readOr(path.attribute);
    this.expect(']');
    if (this.text[this.at] !== '.') return { path, filter, sub: null };
    this.at++;
    const name = this.readWord();
    const sub = findAttribute(path.attribute.subAttributes, name);
    if (!sub) this.fail(`«${name}» is no attribute of ${path.attribute.name}`);
    return { path, filter, sub };
  }

  expectEnd(): void {
    this.skipSpace();
    if (this.at < this.text.length) this.fail('something is left over');
  }

  private skipSpace(): void {
    while (this.at < this.text.length && /\s/.test(this.text[this.at] ?? '')) this.at++;
  }

  private readWord(): string {
    this.skipSpace();
    const start = this.at;
    while (isWordCharacter(this.text[this.at])) this.at++;
    return this.text.slice(start, this.at);
  }

  private takeWord(word: string): boolean {
    const start = this.at;
    this.skipSpace();
    const end = this.at + word.length;
    if (this.text.slice(this.at, end).toLowerCase() === word && !isWordCharacter(this.text[end])) {
      this.at = end;
      return true;
    }
    this.at = start;
    return false;
  }

  private take(character: string): boolean {
    this.skipSpace();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private expect(character: string): void {
    if (!this.take(character)) this.fail(`«${character}» is missing`);
  }

  private fail(what: string): never {
    const around = this.text.slice(Math.max(0, this.at - 10), this.at + 20);
    throw new UsherError(this.code, `At character ${this.at + 1} (…${around}…): ${what}.`);
  }
}
